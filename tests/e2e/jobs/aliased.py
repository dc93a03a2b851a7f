"""Functions that go on changing what they have read from state, given to state, or sent on.

``POST /state {"key", "do"}`` and ``POST /diamond {"key"}``; every reply shows what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import (
    ListState,
    ListStateDescriptor,
    MapState,
    MapStateDescriptor,
    ValueState,
    ValueStateDescriptor,
)

Value = dict[str, Any]
Tags = list[str]


class Careless(KeyedProcessFunction[str, Value, Value]):
    """Keeps a dict, a list and a map, and does not keep its hands off them."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.value: ValueState[Value] = runtime_context.get_state(ValueStateDescriptor("value"))
        self.list: ListState[Tags] = runtime_context.get_list_state(ListStateDescriptor("list"))
        self.map: MapState[str, Tags] = runtime_context.get_map_state(MapStateDescriptor("map"))

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        stored = self.value.value() or {"seen": []}
        items = [list(item) for item in self.list.get()]
        entry = self.map.get("entry") or []
        action = value["do"]
        if action != "read":
            stored["seen"].append(action)
            entry.append(action)
            items.append([action])
        if action in ("update, then mutate", "update, then raise"):
            self.value.update(stored)
            self.list.update(items)
            self.map.put("entry", entry)
            stored["seen"].append("after the update")
            items[-1].append("after the update")
            entry.append("after the update")
        if action == "update, then raise":
            raise ValueError("on purpose")
        yield {
            "value": self.value.value(),
            "list": list(self.list.get()),
            "map": dict(self.map.items()),
        }


class Collect(KeyedProcessFunction[str, Value, Value]):
    """Waits for both branches of a diamond."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.parts: ListState[Tags] = runtime_context.get_list_state(ListStateDescriptor("parts"))

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        self.parts.add(value["tags"])
        parts = sorted(self.parts.get())
        if len(parts) % 2 == 0:
            yield {"parts": parts}


def tag(name: str) -> Callable[[Value], Value]:
    def change(value: Value) -> Value:
        value["tags"].append(name)
        return value

    return change


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/state").key_by(lambda value: value["key"]).process(Careless()).uid("careless").reply()
start = env.from_requests("/diamond").map(lambda value: {**value, "tags": ["start"]})
left, right = start.map(tag("left")), start.map(tag("right"))
left.union(right).key_by(lambda value: value["key"]).process(Collect()).uid("collect").reply()
env.execute("aliased")

"""A job in versions: ``evolving.py VERSION``; ``POST /add {"key", "amount"}`` changes all of its states.

``old``; ``same``; ``typed`` (another type, with a migration); ``untold`` (another type, without one);
``turned`` (another kind); ``shrunk`` (a state less); ``renamed`` (another uid); ``grown`` (a state, an
operator and a route more); ``spread`` (another parallelism); ``twice`` (wrong in two ways); ``foreign``
(another job).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor

VERSION = sys.argv[1]
print(f"building version {VERSION}")

TOTALS: dict[str, ValueStateDescriptor[Any]] = {
    "typed": ValueStateDescriptor("total", float).migrate_from(int, float),
    "untold": ValueStateDescriptor("total", float),
    "twice": ValueStateDescriptor("total", float),
}


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Adds up, and remembers what it has added."""

    def open(self, runtime_context: RuntimeContext) -> None:
        print("opened")
        self.total = runtime_context.get_state(TOTALS.get(VERSION, ValueStateDescriptor("total", int)))
        self.seen: Any = None
        if VERSION == "turned":
            self.seen = runtime_context.get_map_state(MapStateDescriptor("seen", int, int))
        elif VERSION not in ("shrunk", "twice"):
            self.seen = runtime_context.get_list_state(ListStateDescriptor("seen", int))
        if VERSION == "grown":
            self.last = runtime_context.get_state(ValueStateDescriptor("last", int))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        self.seen.add(value["amount"])
        yield {"total": total, "seen": self.seen.get()}


env = StreamExecutionEnvironment.get_execution_environment()
totals = env.from_requests("/add").key_by(lambda value: value["key"]).process(Total())
totals.uid("sum" if VERSION == "renamed" else "total")
if VERSION == "spread":
    totals.set_parallelism(3)
totals.reply()
if VERSION == "grown":
    env.from_requests("/count").key_by(lambda value: value["key"]).reduce(lambda a, b: a).reply()
env.execute("another" if VERSION == "foreign" else "evolving")

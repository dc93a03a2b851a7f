"""``running_total`` with heavy state: beside its total each key keeps bytes that every request writes.

So that a folder of 1 GB has few enough keys to be made in seconds, and each changed key costs what it weighs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Adds amounts up, key by key, and carries the ballast along."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.held = runtime_context.get_state(ValueStateDescriptor("held", list))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        total, ballast = self.held.value() or (0, b"")
        total += value["amount"]
        self.held.update([total, ballast])
        yield {"key": ctx.get_current_key(), "total": total}


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()
env.execute("heavy-total")

"""A job without uids: ``unnamed.py NAME…``; ``POST /add {"key"}`` counts, behind one more count per NAME."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

Value = dict[str, Any]


class Count(KeyedProcessFunction[str, Value, Value]):
    """Counts per key."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("n", int))

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        yield {**value, "count": count}


env = StreamExecutionEnvironment.get_execution_environment()
stream = env.from_requests("/add")
for name in sys.argv[1:]:
    stream = stream.key_by(lambda value: value["key"]).process(Count()).name(name)
stream.key_by(lambda value: value["key"]).process(Count()).reply()
env.execute("unnamed")

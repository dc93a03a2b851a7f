"""A job whose plan is an argument: ``changing.py UID STATE STAGE``; ``POST /add {"key"}`` counts.

With a STAGE other than ``-`` the counts pass through one more stage of that uid.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

UID, STATE, STAGE = sys.argv[1:4]


class Count(KeyedProcessFunction[str, dict[str, Any], int]):
    """Counts per key."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor(STATE, int))

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Iterator[int]:
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        yield count


env = StreamExecutionEnvironment.get_execution_environment()
stream = env.from_requests("/add").key_by(lambda value: value["key"]).process(Count()).uid(UID)
if STAGE != "-":
    stream = stream.key_by(lambda count: count).map(lambda count: count).uid(STAGE)
stream.reply()
env.execute("changing")

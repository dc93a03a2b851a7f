"""The job that the recorded worker runs: two stages write the token of every request down, behind each other.

The second one answers, or does not, or raises, as the request says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ListState, ListStateDescriptor

Value = dict[str, Any]


class Remember(KeyedProcessFunction[int, Value, Value]):
    """Writes tokens down in the order in which they come."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def open(self, runtime_context: RuntimeContext) -> None:
        self.tokens: ListState[int] = runtime_context.get_list_state(ListStateDescriptor("tokens"))

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        self.tokens.add(value["token"])
        if value["fate"] == f"fails {self.stage}":
            raise ValueError("as the request says")
        if value["fate"] != f"ends {self.stage}":
            yield {**value, self.stage: len(list(self.tokens.get())) - 1}


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/note")
    .key_by(lambda value: value["key"])
    .process(Remember("first"))
    .uid("first")
    .key_by(lambda value: value["bucket"])
    .process(Remember("second"))
    .uid("second")
    .reply()
)
env.execute("ledger")

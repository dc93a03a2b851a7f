"""Two stages that remember the token of every request, so that each can be counted afterwards.

``POST /add {"key", "token", "bucket"}`` is written down under its key and, behind a shuffle, under its
bucket. With ``"token": null`` nothing is written, and the reply says what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import MapState, MapStateDescriptor

Value = dict[str, Any]


class Remember(KeyedProcessFunction[str, Value, Value]):
    """Counts how often it has seen each token."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def open(self, runtime_context: RuntimeContext) -> None:
        self.tokens: MapState[str, int] = runtime_context.get_map_state(MapStateDescriptor("tokens"))

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        token = value["token"]
        if token is None:
            yield {**value, self.stage: dict(self.tokens.items())}
        else:
            self.tokens.put(token, (self.tokens.get(token) or 0) + 1)
            yield value


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/add")
    .key_by(lambda value: value["key"])
    .process(Remember("first"))
    .uid("first")
    .key_by(lambda value: value["bucket"])
    .process(Remember("second"))
    .uid("second")
    .reply()
)
env.execute("ledger")

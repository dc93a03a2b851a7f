"""Jobs for the tests of the harness, as functions that build them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from mini_flink.common import Duration
from mini_flink.datastream import KeyedProcessFunction, Reply, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor
from mini_flink.keys import encode_key, key_group, subtask_of_group


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """A running total; a negative amount raises after the state has been changed."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total"))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        if value["amount"] < 0:
            raise ValueError("amounts are not negative")
        yield {"key": ctx.get_current_key(), "total": total}


def total() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()
    env.execute("total")


def shop() -> None:
    """Several routes: a GET with a path parameter, a status of its own, one that nothing answers."""
    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_requests("/items/{number:int}", "GET").map(lambda item: {"number": item["number"] + 1}).reply()
    env.from_requests("/orders").map(lambda order: Reply({"id": 7}, 201, {"location": "/orders/7"})).reply()
    env.from_requests("/notes", type_info=bytes).filter(lambda note: note != b"quiet").reply(
        content_type="text/plain"
    )
    env.execute("shop")


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def key_of(worker: int) -> str:
    """A key that belongs to this one of two workers."""
    return next(
        key for key in "abcdefgh" if subtask_of_group(key_group(encode_key(key), 128), 128, 2) == worker
    )


def slow() -> None:
    """Of two workers the second naps; then the record goes back and forth, time enough to be too late."""
    env = StreamExecutionEnvironment.get_execution_environment()
    stream = env.from_requests("/nap", timeout=Duration.of_millis(50)).map(
        lambda value: nap(value["seconds"])
    )
    for key in (key_of(0), key_of(1), key_of(0)):
        stream = stream.key_by(lambda _, key=key: key).map(lambda seconds: seconds)
    stream.reply()
    env.execute("slow")

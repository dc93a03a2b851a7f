"""Jobs for the tests of the harness, as functions that build them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from mini_flink.common import Duration
from mini_flink.datastream import KeyedProcessFunction, Reply, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor


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


def slow() -> None:
    """Naps as long as it is told to: at ``/nap`` too long is 50 ms, at ``/rest`` what the settings say."""
    env = StreamExecutionEnvironment.get_execution_environment()
    naps = env.from_requests("/nap", timeout=Duration.of_millis(50))
    naps.union(env.from_requests("/rest")).map(lambda value: nap(value["seconds"])).reply()
    env.execute("slow")


if __name__ == "__main__":
    slow()

"""One operator that takes its time, between two that do not: ``POST /slow {"key", "ms"}``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, StreamExecutionEnvironment


class Slow(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Computes for as many milliseconds as it is told."""

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        until = time.monotonic() + value["ms"] / 1000
        while time.monotonic() < until:
            pass
        yield value


def find_key(value: dict[str, Any]) -> str:
    key: str = value["key"]
    return key


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/slow")
    .key_by(find_key)
    .map(lambda value: value)
    .uid("before")
    .key_by(find_key)
    .process(Slow())
    .uid("slow")
    .key_by(find_key)
    .map(lambda value: value)
    .uid("after")
    .reply()
)
env.execute("slow")

"""A gauge that does not come back, once: when the file that the job is given is there, it removes it first.

``POST /add {"key"}``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment

TRAP = Path(sys.argv[1])


def depth() -> float:
    if TRAP.exists():
        TRAP.unlink()
        time.sleep(3600)
    return 7.0


class Add(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Has a gauge."""

    def open(self, runtime_context: RuntimeContext) -> None:
        runtime_context.get_metrics_group().gauge("depth", depth)

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        yield value


def find_key(value: dict[str, Any]) -> str:
    key: str = value["key"]
    return key


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/add").key_by(find_key).process(Add()).uid("add").reply()
env.execute("asked")

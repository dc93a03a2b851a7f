"""Totals per key, with records that raise, kill their worker, or never end.

``POST /total {"key", "amount", "do"}``: what is to be done comes after the update of the total.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Adds up, then misbehaves."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        yield {"total": total}
        match value.get("do"):
            case "raise":
                raise ValueError("on purpose")
            case "early" if total < 100:
                raise ValueError("too early")
            case "exit":
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)


def find_key(value: dict[str, Any]) -> str:
    key: str = value["key"]
    return key


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(find_key).process(Total()).uid("total").reply()
env.execute("failing")

"""Two stages that do what a record says, and spans of the user's own.

``POST /pay {"account", "shop", "do"}``: ``do`` is what ``check`` does; "badly routed" is for the gateway.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, StreamExecutionEnvironment

Value = dict[str, Any]


def find_account(value: Value) -> str:
    if value.get("do") == "badly routed":
        raise LookupError("no account")
    return str(value["account"])


class Check(KeyedProcessFunction[str, Value, Value]):
    """Passes on, unless it is to do something else."""

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        match value.get("do"):
            case "span":
                from opentelemetry import propagate, trace  # not where nothing is traced: a test looks for it

                headers: dict[str, str] = {}
                with trace.get_tracer("user").start_as_current_span("look up"):
                    propagate.inject(headers)  # what a service that is asked would be sent
                value = {**value, "headers": headers}
            case "raise":
                raise ValueError(f"no money in {value['account']}")
            case "die once" if not os.path.exists(value["mark"]):
                with open(value["mark"], "w"):
                    os.kill(os.getpid(), signal.SIGKILL)
        yield value


class Total(KeyedProcessFunction[str, Value, Value]):
    """Answers."""

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        yield {"shop": ctx.get_current_key(), "headers": value.get("headers", {})}


env = StreamExecutionEnvironment.get_execution_environment()
checked = env.from_requests("/pay").uid("pay").key_by(find_account).process(Check()).uid("check")
checked.key_by(lambda value: value["shop"]).process(Total()).uid("total").reply().uid("answer")
env.execute("traced")

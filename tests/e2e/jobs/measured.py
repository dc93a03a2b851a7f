"""Functions with metrics of their own, over two stages.

``POST /pay {"account", "amount"}``; an amount below zero raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import (
    KeyedProcessFunction,
    MapFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)

Value = dict[str, Any]


class Check(MapFunction[Value, Value]):
    """Counts what comes."""

    def open(self, runtime_context: RuntimeContext) -> None:
        group = runtime_context.get_metrics_group()
        self.seen = group.counter("seen")
        self.large = group.add_group("size", "large").counter("payments")
        self.amounts = group.add_group("payment").distribution("amount")
        self.paid = group.meter("paid")
        self.last = 0
        group.gauge("last", lambda: self.last)

    def map(self, value: Value) -> Value:
        self.seen.inc()
        amount = value["amount"]
        if amount < 0:
            raise ValueError("no payment")
        if amount >= 50:
            self.large.inc(1)
        self.amounts.update(amount)
        self.paid.mark_event(amount)
        self.last = amount
        return value


class Total(KeyedProcessFunction[str, Value, Value]):
    """Answers."""

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        yield {"key": ctx.get_current_key()}


env = StreamExecutionEnvironment.get_execution_environment()
checked = env.from_requests("/pay").uid("pay").map(Check()).uid("check")
checked.key_by(lambda value: value["account"]).process(Total()).uid("total").reply().uid("answer")
env.execute("measured")

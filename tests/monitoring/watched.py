"""A job in which everything is there that the dashboard asks for: state, failures, a metric of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

Value = dict[str, Any]


class Total(KeyedProcessFunction[str, Value, Value]):
    """A total per account; negative amounts fail."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))
        self.paid = runtime_context.get_metrics_group().counter("paid")

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        if value["amount"] < 0:
            raise ValueError("no payment")
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        self.paid.inc(value["amount"])
        yield {"total": total}


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/pay").key_by(lambda value: value["account"]).process(Total()).uid("total").reply()
env.execute("watched")

"""Every kind of state, under keys of every kind: what is kept is looked at from outside.

``POST /keep {"key", "amount"}``: a list is taken for the tuple of its elements. ``{"key", "order"}`` keeps an
object of a class that only this job knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import (
    AggregateFunction,
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)

Value = dict[str, Any]


@dataclasses.dataclass
class Order:
    """What ``order`` keeps."""

    item: str
    count: int

    def __repr__(self) -> str:
        raise RuntimeError("nobody who only looks runs code of the job")


class Mean(AggregateFunction):
    """Its accumulator is sum and count."""

    def create_accumulator(self) -> list[int]:
        return [0, 0]

    def add(self, value: int, accumulator: list[int]) -> list[int]:
        return [accumulator[0] + value, accumulator[1] + 1]

    def get_result(self, accumulator: list[int]) -> float:
        return accumulator[0] / accumulator[1]

    def merge(self, acc_a: list[int], acc_b: list[int]) -> list[int]:
        return [acc_a[0] + acc_b[0], acc_a[1] + acc_b[1]]


class Keep(KeyedProcessFunction[Any, Value, Value]):
    """Keeps each amount in each kind of state."""

    def open(self, runtime_context: RuntimeContext) -> None:
        get = runtime_context
        self.total = get.get_state(ValueStateDescriptor("total", int))
        self.order = get.get_state(ValueStateDescriptor("order"))
        self.amounts = get.get_list_state(ListStateDescriptor("amounts"))
        self.seen = get.get_map_state(MapStateDescriptor("seen"))
        self.most = get.get_reducing_state(ReducingStateDescriptor("most", max))
        self.mean = get.get_aggregating_state(AggregatingStateDescriptor("mean", Mean()))

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        if "order" in value:
            self.order.update(Order(**value["order"]))
        else:
            amount = value["amount"]
            self.total.update((self.total.value() or 0) + amount)
            self.amounts.add(amount)
            self.seen.put(str(amount), (self.seen.get(str(amount)) or 0) + 1)
            self.most.add(amount)
            self.mean.add(amount)
        yield {"total": self.total.value()}


def key_of(value: Value) -> Any:
    """JSON has no tuples."""
    return _tupled(value["key"])


def _tupled(key: Any) -> Any:
    return tuple(map(_tupled, key)) if isinstance(key, list) else key


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/keep")
    .key_by(key_of)
    .process(Keep())
    .uid("keep")
    .map(lambda value: value)
    .uid("last")
    .reply()
)
env.execute("keeping")

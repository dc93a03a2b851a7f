"""All kinds of keyed state, in two stages, with keys of several types and values of a class.

``POST /keep {"key", "number"}``; a number below 0 is a mistake that the first stage makes.
"""

from __future__ import annotations

import datetime
import uuid
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
from tests.codec.sample_classes import Point

Value = dict[str, Any]


class Mean(AggregateFunction[int, tuple[int, int], float]):
    """The accumulator is the sum and the count."""

    def create_accumulator(self) -> tuple[int, int]:
        return (0, 0)

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return (accumulator[0] + value, accumulator[1] + 1)

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]

    def merge(self, acc_a: tuple[int, int], acc_b: tuple[int, int]) -> tuple[int, int]:
        return (acc_a[0] + acc_b[0], acc_a[1] + acc_b[1])


TOTAL = ValueStateDescriptor("total", int)
LAST: ValueStateDescriptor[Point] = ValueStateDescriptor("last")
NUMBERS = ListStateDescriptor("numbers", int)
LARGEST = ReducingStateDescriptor("largest", max, int)
MEAN = AggregatingStateDescriptor("mean", Mean())
DAYS: MapStateDescriptor[datetime.date, int] = MapStateDescriptor("days")


def group_of(value: Value) -> tuple[str, uuid.UUID]:
    """The key of the second stage."""
    return (value["key"][0], uuid.UUID(int=value["number"] % 5))


def day_of(number: int) -> datetime.date:
    return datetime.date(2024, 2, 20) + datetime.timedelta(number % 12)


class Keep(KeyedProcessFunction[str, Value, Value]):
    """Remembers everything in every way."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(TOTAL)
        self.last = runtime_context.get_state(LAST)
        self.numbers = runtime_context.get_list_state(NUMBERS)
        self.largest = runtime_context.get_reducing_state(LARGEST)
        self.mean = runtime_context.get_aggregating_state(MEAN)

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        number = value["number"]
        if number < 0:
            raise ValueError(f"{number} is below 0")
        self.total.update((self.total.value() or 0) + number)
        self.last.update(Point(number, value["key"]))
        self.numbers.add(number)
        self.largest.add(number)
        self.mean.add(number)
        yield value


class Days(KeyedProcessFunction[tuple[str, uuid.UUID], Value, Value]):
    """Counts by day."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.days = runtime_context.get_map_state(DAYS)

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        day = day_of(value["number"])
        self.days.put(day, (self.days.get(day) or 0) + 1)
        yield value


def build() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    (
        env.from_requests("/keep")
        .key_by(lambda value: value["key"])
        .process(Keep())
        .uid("keep")
        .key_by(group_of)
        .process(Days())
        .uid("days")
        .reply()
    )
    env.execute("keeping")


if __name__ == "__main__":
    build()

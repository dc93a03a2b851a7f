"""One record in, a thousand out: ``POST /spread {"n"}`` has no reply, ``{"ask": key}`` says what has arrived.

The fan-out runs in worker 0 alone, what it puts out goes to all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueState, ValueStateDescriptor

RECORDS = 1000
KEYS = 64
PADDING = "." * 60

Value = dict[str, Any]


def spread(value: Value) -> Iterator[Value]:
    if "ask" in value:
        yield {"key": value["ask"], "n": None}
    else:
        for index in range(RECORDS):
            yield {"key": index % KEYS, "n": value["n"], "padding": PADDING}


class Arrivals(KeyedProcessFunction[int, Value, Value]):
    """Counts what arrives, and adds it up."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.arrivals: ValueState[tuple[int, int]] = runtime_context.get_state(
            ValueStateDescriptor("arrivals")
        )

    def process_element(self, value: Value, ctx: KeyedProcessFunction.Context) -> Iterator[Value]:
        count, total = self.arrivals.value() or (0, 0)
        if value["n"] is None:
            yield {"count": count, "sum": total}
        else:
            self.arrivals.update((count + 1, total + value["n"]))


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/spread")
    .flat_map(spread)
    .set_parallelism(1)
    .key_by(lambda value: value["key"])
    .process(Arrivals())
    .uid("arrivals")
    .reply()
)
env.execute("spreading")

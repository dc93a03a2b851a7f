"""A fraud check: three features over the payments of the last hour, joined into one verdict.

    $ python -m mini_flink serve mini_flink.examples.risk_engine
    $ curl localhost:7071/event -X POST -d '{"application": "app", "timestamp": 1700000000000,
          "event_type": "transaction", "pay_account": "ann", "rcv_account": "bob", "amount": 10}'
    {"event":{…},"features":{"count(pay_account.history,1h)":1.0,…},"isAnomaly":false}

The records of a request travel like this::

    request ─▶ split ─▶ key_by(feature, account) ─▶ History ─▶ key_by(event id) ─▶ Join ─▶ reply

``split`` makes four records of a payment: the event itself, and one for each feature's history. The first
shuffle brings each to the worker that owns that feature of that account, where its window is evaluated; the
second brings the four parts of an event together again, wherever they were. Both ends keep state, and the
client gets one reply once everything behind it is durable.
"""

# ruff: noqa: ARG002 - the context is always given, needed or not

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

Part = dict[str, Any]

COUNT = "count(pay_account.history,1h)"
SUM = "sum(amount#rcv_account.history,1h)"
COUNT_DISTINCT = "count_distinct(rcv_account#pay_account.history,1h)"
FEATURES = (COUNT, SUM, COUNT_DISTINCT)
EVENT = "event"

HISTORY_RECORDS = 100
WINDOW_MS = 3_600_000

FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "timestamp": ((int,), "milliseconds, a whole number"),
    "pay_account": ((str,), "a text"),
    "rcv_account": ((str,), "a text"),
    "amount": ((int, float), "a number"),
}
"""The fields that are read here: the types that JSON gives them, and how to say that."""

AGGREGATES: dict[str, Callable[[list[Any]], float]] = {
    COUNT: lambda values: float(len(values)),
    SUM: lambda values: float(sum(values)),
    COUNT_DISTINCT: lambda values: float(len(set(values))),
}


def split(payment: dict[str, Any]) -> Iterator[Part]:
    """The event, and what each history has to remember of it.

    A record is a plain dict: of all forms it is the cheapest to send.

    What is wrong with a payment is found here, before it is split: later some of its parts would be
    remembered already when another one fails, and the others would wait for that one for ever.
    """
    check(payment)
    event_id = uuid.uuid4().hex
    time_ms, payer, receiver = payment["timestamp"], payment["pay_account"], payment["rcv_account"]

    def part(feature: str, account: str, value: Any) -> Part:
        return {"id": event_id, "feature": feature, "account": account, "timestamp": time_ms, "value": value}

    yield part(EVENT, event_id, payment)
    yield part(COUNT, payer, None)
    yield part(SUM, receiver, payment["amount"])
    yield part(COUNT_DISTINCT, payer, receiver)


def check(payment: dict[str, Any]) -> None:
    """ValueError for a payment that could not be evaluated."""
    for name, (types, what) in FIELDS.items():
        # The very types: True is an int to Python, but no amount.
        if type(payment.get(name)) not in types:
            raise ValueError(f"{name} must be {what}, not {payment.get(name)!r}")


class History(KeyedProcessFunction[tuple[str, str], Part, Part]):
    """Remembers the last records of one feature of one account, and evaluates the feature over an hour."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """The state is two lists, times and values: two flat lists are read and written faster than pairs."""
        self.history = runtime_context.get_state(ValueStateDescriptor("history", list))

    def process_element(self, value: Part, ctx: KeyedProcessFunction.Context) -> Iterator[Part]:
        """Appends the record first, then evaluates: the event is part of its own window."""
        if value["feature"] == EVENT:
            yield value
            return
        times, values = self.history.value() or ([], [])
        times.append(value["timestamp"])
        values.append(value["value"])
        del times[:-HISTORY_RECORDS], values[:-HISTORY_RECORDS]
        self.history.update([times, values])
        start = max(times) - WINDOW_MS
        window = [item for time, item in zip(times, values, strict=True) if time > start]
        yield {**value, "value": AGGREGATES[value["feature"]](window)}


class Join(KeyedProcessFunction[str, Part, dict[str, Any]]):
    """Collects the parts of an event and judges it when all are there."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """The state is a dict of the parts so far; it is cleared with the last one."""
        self.parts = runtime_context.get_state(ValueStateDescriptor("parts", dict))

    def process_element(self, value: Part, ctx: KeyedProcessFunction.Context) -> Iterator[dict[str, Any]]:
        """Waits for the missing parts, in whatever order they come."""
        parts = self.parts.value() or {}
        parts[value["feature"]] = value["value"]
        if len(parts) <= len(FEATURES):
            self.parts.update(parts)
            return
        self.parts.clear()
        features = {name: parts[name] for name in FEATURES}
        yield {"event": parts[EVENT], "features": features, "isAnomaly": is_anomaly(features)}


def is_anomaly(features: dict[str, float]) -> bool:
    """Many payments from one account, much money, to few receivers."""
    return features[COUNT] > 5 and features[SUM] > 5000 and features[COUNT_DISTINCT] <= 2


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/event")
    .flat_map(split)
    .uid("split")
    .key_by(lambda part: (part["feature"], part["account"]))
    .process(History())
    .uid("history")
    .key_by(lambda part: part["id"])
    .process(Join())
    .uid("join")
    .reply()
)
env.execute("risk-engine")

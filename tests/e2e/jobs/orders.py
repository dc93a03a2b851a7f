"""Three stages with fan-out, fan-in and dropped records.

``POST /order {"order", "customer", "items": [[sku, quantity], …]}`` is counted per customer, fans out to one
record per item, each of which is added to the stock of its sku, and what is left of the order is joined to
one reply. Items with a negative quantity are dropped before the stock, those of discontinued skus (``x…``)
behind it; an order of which nothing is left has no reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

Record = dict[str, Any]


def is_reported(sku: str, quantity: int) -> bool:
    """Whether an item is part of its order's reply: a quantity of 0 asks for the stock of any sku."""
    return quantity == 0 or (quantity > 0 and not sku.startswith("x"))


class Intake(KeyedProcessFunction[str, Record, Record]):
    """Numbers the orders of a customer and takes them apart."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.orders = runtime_context.get_state(ValueStateDescriptor("orders", int))

    def process_element(self, value: Record, ctx: KeyedProcessFunction.Context) -> Iterator[Record]:
        number = (self.orders.value() or 0) + 1
        self.orders.update(number)
        order = value["order"]
        parts = sum(is_reported(sku, quantity) for sku, quantity in value["items"])
        if parts:
            yield {"order": order, "sku": None, "quantity": 0, "number": number, "parts": parts}
        for sku, quantity in value["items"]:
            yield {"order": order, "sku": sku, "quantity": quantity}


class Stock(KeyedProcessFunction[str, Record, Record]):
    """Adds up what was ordered of each sku."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.stock = runtime_context.get_state(ValueStateDescriptor("stock", int))

    def process_element(self, value: Record, ctx: KeyedProcessFunction.Context) -> Iterator[Record]:
        total = (self.stock.value() or 0) + value["quantity"]
        self.stock.update(total)
        yield {**value, "total": total}


class Join(KeyedProcessFunction[str, Record, Record]):
    """Waits for all that is to be reported of an order."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.seen = runtime_context.get_state(ValueStateDescriptor("seen", dict))

    def process_element(self, value: Record, ctx: KeyedProcessFunction.Context) -> Iterator[Record]:
        seen = self.seen.value() or {"head": None, "stock": {}}
        if value["sku"] is None:
            seen["head"] = [value["number"], value["parts"]]
        else:
            seen["stock"][value["sku"]] = value["total"]
        if seen["head"] is None or seen["head"][1] > len(seen["stock"]):
            self.seen.update(seen)
            return
        self.seen.clear()
        yield {"order": value["order"], "number": seen["head"][0], "stock": seen["stock"]}


env = StreamExecutionEnvironment.get_execution_environment()
orders = env.from_requests("/order").key_by(lambda value: value["customer"]).process(Intake()).uid("intake")
heads = orders.filter(lambda value: value["sku"] is None)
items = (
    orders.filter(lambda value: value["sku"] is not None and value["quantity"] >= 0)
    .key_by(lambda value: value["sku"])
    .process(Stock())
    .uid("stock")
    .filter(lambda value: is_reported(value["sku"], value["quantity"]))
)
heads.union(items).key_by(lambda value: value["order"]).process(Join()).uid("join").reply()
env.execute("orders")

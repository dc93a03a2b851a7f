"""What is sent to the counting jobs, and what their replies must add up to: each record exactly once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from tests.e2e.client import Exchange

Value = dict[str, Any]

KEYS = 40
CUSTOMERS = 12
SKUS = [f"s{number}" for number in range(8)] + ["x0", "x1"]


def failed(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """Requests that have ended, and not with success."""
    return [exchange for exchange in exchanges if exchange.failed]


def gaps(steps: Sequence[tuple[int, int]]) -> list[str]:
    """Totals and the amounts that led to them, in any order: what does not fit on what came before."""
    found, before = [], 0
    for total, amount in sorted(steps):
        if before + amount != total:
            found.append(f"{before} + {amount} is not {total}")
        before = total
    return found


# --- running_total ----------------------------------------------------------------------------------------


def amounts(seed: int, connections: int) -> list[Iterator[Value]]:
    """Endless chains; all connections share all keys."""
    return [_amounts(Random(f"{seed}/{number}")) for number in range(connections)]


def _amounts(rng: Random) -> Iterator[Value]:
    while True:
        yield {"key": f"k{rng.randrange(KEYS)}", "amount": rng.randrange(1, 1000)}


def total_problems(exchanges: Sequence[Exchange]) -> list[str]:
    """Every reply's total is that of another reply of its key plus its own amount, from 0 on."""
    steps: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for exchange in exchanges:
        steps[exchange.value["key"]].append((exchange.body["total"], exchange.value["amount"]))
    return [f"{key}: {gap}" for key in steps for gap in gaps(steps[key])]


# --- orders -----------------------------------------------------------------------------------------------


def orders(seed: int, connections: int) -> list[Iterator[Value]]:
    """Endless chains; all connections share all customers and skus."""
    return [_orders(Random(f"{seed}/{number}"), str(number)) for number in range(connections)]


def _orders(rng: Random, connection: str) -> Iterator[Value]:
    number = 0
    while True:
        number += 1
        skus = rng.sample(SKUS, rng.randrange(5))
        items = [[sku, rng.choice([-1, rng.randrange(1, 100), rng.randrange(1, 100)])] for sku in skus]
        yield {"order": f"{connection}.{number}", "customer": f"c{rng.randrange(CUSTOMERS)}", "items": items}


def closing_orders() -> list[list[Value]]:
    """One for each customer, which asks for the stock of all skus and changes none."""
    items = [[sku, 0] for sku in SKUS]
    return [[{"order": f"end.{c}", "customer": f"c{c}", "items": items}] for c in range(CUSTOMERS)]


def order_problems(exchanges: Sequence[Exchange], closing: Sequence[Exchange]) -> list[str]:
    """Every order was counted once, every item added once, and every reply holds what it should."""
    found = []
    steps: dict[str, list[tuple[int, int]]] = defaultdict(list)
    stock: dict[str, int] = dict.fromkeys(SKUS, 0)
    numbers: dict[str, list[int]] = defaultdict(list)
    sent: dict[str, int] = defaultdict(int)
    for exchange in exchanges:
        customer, items = exchange.value["customer"], dict(exchange.value["items"])
        sent[customer] += 1
        reported = {sku for sku, quantity in items.items() if quantity > 0 and sku[0] != "x"}
        for sku, quantity in items.items():
            stock[sku] += max(0, quantity)
        if (exchange.status == 200) != bool(reported):
            found.append(f"{exchange.value} was answered with {exchange.status}")
        elif reported:
            numbers[customer].append(exchange.body["number"])
            if exchange.body["order"] != exchange.value["order"] or exchange.body["stock"].keys() != reported:
                found.append(f"{exchange.value} was answered with {exchange.body}")
            for sku, total in exchange.body["stock"].items():
                steps[sku].append((total, items[sku]))
    found += [f"{sku}: {gap}" for sku in steps for gap in gaps(steps[sku])]
    found += [f"{customer}: a number twice" for customer, all in numbers.items() if len(all) != len(set(all))]
    found += [f"{exchange.value} failed: {exchange.status}" for exchange in failed(closing)]
    for exchange in (exchange for exchange in closing if exchange.ok):
        customer, counted = exchange.value["customer"], exchange.body["number"] - 1
        if counted != sent[customer]:
            found.append(f"{customer} has sent {sent[customer]} orders: {counted} counted")
        if exchange.body["stock"] != stock:
            found.append(f"the stock is {exchange.body['stock']}, not {stock}")
    return found

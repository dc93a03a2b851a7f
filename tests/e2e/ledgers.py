"""What a client sends to the ledger job, and what must be in its ledgers afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from tests.e2e.client import Exchange, post_all

KEYS = 12
BUCKETS = 8


def chains(connections: int, start: int = 0) -> list[Iterator[dict[str, Any]]]:
    """Endless; every connection has its own tokens."""
    return [_chain(connection, start) for connection in range(connections)]


def _chain(connection: int, start: int) -> Iterator[dict[str, Any]]:
    for number in count(start):
        token = f"{connection}.{number}"
        yield {"key": f"k{(connection + number) % KEYS}", "token": token, "bucket": f"b{number % BUCKETS}"}


def problems(url: str, exchanges: Sequence[Exchange]) -> list[str]:
    """Answered requests that are not there once, in both stages, and others that are there more than once."""
    first, second = read(url)
    found = []
    for exchange in exchanges:
        token = exchange.value["token"]
        seen = (first.pop(token, 0), second.pop(token, 0))
        allowed = [(1, 1)] if exchange.ok else [(0, 0), (1, 1)]
        if seen not in allowed:
            found.append(f"{token}: status {exchange.status}, {seen[0]} and {seen[1]} times there")
        if exchange.ok and exchange.body != exchange.value:
            found.append(f"{token}: answered with {exchange.body}")
    found += [f"{token}: never sent" for token in (*first, *second)]
    return found


def read(url: str) -> tuple[Counter[str], Counter[str]]:
    """How often each token is in the first and in the second stage.

    Channels keep their order: what the first round finds under way has arrived before the second.
    """
    questions = [
        [{"key": f"k{key}", "token": None, "bucket": f"b{bucket}"} for bucket in range(BUCKETS)]
        for key in range(KEYS)
    ]
    post_all(url, "/add", questions)
    firsts: dict[str, dict[str, int]] = {}
    seconds: dict[str, dict[str, int]] = {}
    for chain in post_all(url, "/add", questions):
        for exchange in chain:
            assert exchange.status == 200, exchange
            firsts[exchange.value["key"]] = exchange.body["first"]
            seconds[exchange.value["bucket"]] = exchange.body["second"]
    return _merged(firsts.values()), _merged(seconds.values())


def _merged(parts: Any) -> Counter[str]:
    merged: Counter[str] = Counter()
    for part in parts:
        merged.update(part)
    return merged

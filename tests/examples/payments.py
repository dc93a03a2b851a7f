"""Random payments for ``risk_engine``, with accounts that are shared inside a chain and never between chains.

The payments of a chain are to be sent one after another, each after the reply to the one before; the chains
may run concurrently, and each can be compared with a model of its own.
"""

from __future__ import annotations

import random
from typing import Any

from tests.examples.models import WINDOW_MS

START_MS = 1_700_000_000_000


def payment_chains(seed: int, chains: int, length: int, accounts: int = 6) -> list[list[dict[str, Any]]]:
    """``chains`` lists of ``length`` payments; the same seed gives the same payments."""
    source = random.Random(seed)
    return [_chain(source, f"c{number}", length, accounts) for number in range(chains)]


def _chain(source: random.Random, name: str, length: int, accounts: int) -> list[dict[str, Any]]:
    """Accounts pay and receive, the first ones most of the time, so that some histories overflow."""
    names = [f"{name}-{number}" for number in range(accounts)]
    weights = [2.0**-number for number in range(accounts)]
    now = START_MS + source.randrange(WINDOW_MS)
    payments = []
    for _ in range(length):
        now += _step_ms(source)
        payer, receiver = source.choices(names, weights, k=2)
        payments.append(
            {
                "application": source.choice(["app", "web", "Grüße"]),
                "timestamp": now - _lateness_ms(source),
                "event_type": source.choice(["transaction", "transfer"]),
                "pay_account": payer,
                "rcv_account": receiver,
                "amount": _amount(source),
            }
        )
    return payments


def _step_ms(source: random.Random) -> int:
    """Mostly a few minutes; at times nothing, exactly the window, or more than all of it."""
    return source.choice([0, 1, 1_000, 60_000, 120_000, 300_000, source.randrange(600_000)]) + (
        source.choice([WINDOW_MS, WINDOW_MS - 1, WINDOW_MS + 1, 3 * WINDOW_MS])
        if source.random() < 0.05
        else 0
    )


def _lateness_ms(source: random.Random) -> int:
    """Some payments arrive late, a few later than the window is long."""
    chance = source.random()
    if chance < 0.9:
        return 0
    return source.randrange(600_000) if chance < 0.98 else WINDOW_MS + source.randrange(-1, 600_000)


def _amount(source: random.Random) -> float | int:
    return source.choice([source.randrange(1, 3_000), round(source.uniform(0.01, 3_000), 2)])

"""``risk_engine``: a payment that cannot be evaluated fails as a whole, before any of it is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from mini_flink.testing import JobHarness
from tests.examples.models import RiskEngine

GOOD = {
    "application": "app",
    "timestamp": 1_700_000_000_000,
    "event_type": "transaction",
    "pay_account": "ann",
    "rcv_account": "bob",
    "amount": 10,
}

BAD: list[tuple[str, Any]] = [
    ("amount", "x"),
    ("amount", None),
    ("amount", True),
    ("timestamp", "now"),
    ("timestamp", 1.5),
    ("pay_account", 7),
    ("rcv_account", ["bob"]),
]


def test_a_bad_payment_is_refused_by_the_first_function_and_leaves_no_trace() -> None:
    model = RiskEngine()
    missing = [{name: GOOD[name] for name in GOOD if name != field} for field, _ in BAD]
    with JobHarness("mini_flink.examples.risk_engine", workers=2, full_trace=False) as job:
        assert job.post("/event", GOOD).json() == model.reply(GOOD)
        for payment in [*missing, *({**GOOD, field: value} for field, value in BAD)]:
            failed = job.post("/event", payment)
            assert (failed.status, failed.json()["operator"]) == (500, "split")
        assert "ValueError: " in job.log[0]
        assert job.post("/event", GOOD).json() == model.reply(GOOD)


@pytest.mark.parametrize("amount", [0, 2.5, -1])
def test_numbers_of_both_kinds_are_amounts(amount: float) -> None:
    with JobHarness("mini_flink.examples.risk_engine") as job:
        assert job.post("/event", {**GOOD, "amount": amount}).status == 200

"""The models and the payments themselves: what they must contain for a comparison to mean something."""

from __future__ import annotations

from tests.examples.models import HISTORY_RECORDS, RiskEngine, RunningTotal
from tests.examples.payments import payment_chains


def test_running_total_adds_up_per_key() -> None:
    model = RunningTotal()
    assert model.reply({"key": "a", "amount": 3}) == {"key": "a", "total": 3}
    assert model.reply({"key": "b", "amount": 1}) == {"key": "b", "total": 1}
    assert model.reply({"key": "a", "amount": -1}) == {"key": "a", "total": 2}


def test_risk_engine_looks_back_less_than_an_hour_and_at_most_a_hundred_payments() -> None:
    model = RiskEngine()

    def features(timestamp: int, receiver: str = "r", amount: float = 1) -> list[float]:
        payment = {"timestamp": timestamp, "pay_account": "p", "rcv_account": receiver, "amount": amount}
        reply = model.reply(payment)
        assert reply["event"] == payment
        return list(reply["features"].values())

    assert features(3_600_000) == [1, 1, 1]
    assert features(7_199_999, "s") == [2, 1, 2]
    assert features(7_200_000) == [2, 1, 2]  # the first is exactly an hour old: it counts no more
    assert features(3_000_000) == [2, 1, 2]  # too late itself: the latest time decides, not the last
    for _ in range(HISTORY_RECORDS + 10):
        last = features(7_200_000, amount=100)
    assert last == [HISTORY_RECORDS, HISTORY_RECORDS * 100, 1]


def test_payments_are_repeatable_share_accounts_within_a_chain_only_and_reach_every_case() -> None:
    chains = payment_chains(seed=1, chains=10, length=400)
    assert chains == payment_chains(seed=1, chains=10, length=400)
    accounts = [{p["pay_account"] for p in chain} | {p["rcv_account"] for p in chain} for chain in chains]
    assert sum(map(len, accounts)) == len(set.union(*accounts))
    model = RiskEngine()
    replies = [model.reply(payment) for chain in chains for payment in chain]
    anomalies = sum(reply["isAnomaly"] for reply in replies)
    assert 20 < anomalies < len(replies) - 20
    assert max(len(history) for history in model.paid.values()) > HISTORY_RECORDS
    for chain in chains:
        times = [payment["timestamp"] for payment in chain]
        assert times != sorted(times)

"""What the examples compute, as plain single-threaded Python: what their replies are compared to."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

HISTORY_RECORDS = 100
WINDOW_MS = 3_600_000


class RunningTotal:
    """``running_total``: a dict."""

    def __init__(self) -> None:
        self.totals: dict[str, Any] = {}

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        key = request["key"]
        self.totals[key] = self.totals.get(key, 0) + request["amount"]
        return {"key": key, "total": self.totals[key]}


class RiskEngine:
    """``risk_engine``: each history is a list of the payments themselves, evaluated from scratch."""

    def __init__(self) -> None:
        self.paid: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.received: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def reply(self, payment: dict[str, Any]) -> dict[str, Any]:
        self.paid[payment["pay_account"]].append(payment)
        self.received[payment["rcv_account"]].append(payment)
        paid = self.window(self.paid[payment["pay_account"]])
        received = self.window(self.received[payment["rcv_account"]])
        count = float(len(paid))
        amount = float(sum(earlier["amount"] for earlier in received))
        receivers = float(len({earlier["rcv_account"] for earlier in paid}))
        return {
            "event": payment,
            "features": {
                "count(pay_account.history,1h)": count,
                "sum(amount#rcv_account.history,1h)": amount,
                "count_distinct(rcv_account#pay_account.history,1h)": receivers,
            },
            "isAnomaly": count > 5 and amount > 5000 and receivers <= 2,
        }

    @staticmethod
    def window(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of the last hundred by arrival, those less than an hour older than the latest of them."""
        kept = history[-HISTORY_RECORDS:]
        latest = max(payment["timestamp"] for payment in kept)
        return [payment for payment in kept if payment["timestamp"] > latest - WINDOW_MS]

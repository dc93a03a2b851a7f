"""The pending map: capacity, deadlines, replies and shares, without any process."""

from __future__ import annotations

from typing import Any

import pytest

from mini_flink import wire
from mini_flink.core.base import Identity
from mini_flink.core.effects import Send
from mini_flink.core.pending import Ended, Extra, Failed, Full, Outcome, PendingMap, Replied, TimedOut
from mini_flink.core.shares import WHOLE

TARGET = (1, 0, None, b"value")


def make(workers: int = 1, capacity: int = 4) -> PendingMap[str]:
    pending: PendingMap[str] = PendingMap(Identity("g0", 3, 1, "here"), 0, workers, capacity=capacity)
    for index in range(workers):
        pending.meet(f"w{index}", 1, f"there {index}")
    return pending


def answer(pending: PendingMap[str], *records: tuple[Any, ...], first: int = 1, **changes: Any) -> list[Any]:
    message = wire.Data(wire.DATA, 1, "w0", 1, 0, 3, first, [wire.pack(r) for r in records], 0, 0, "")
    outcomes: list[tuple[str, Outcome]] = []
    pending.receive(message._replace(**changes), 0.0, outcomes)
    return outcomes


def reply(request: int, share: int = WHOLE, body: bytes = b"1") -> tuple[Any, ...]:
    return (wire.REPLY, request, share, 0, 200, [], "application/json", body, 7)


def submit(pending: PendingMap[str], token: str, subtask: int = 0) -> int:
    return pending.submit(token, (1, subtask, None, b"v"), 10.0, 0.0, 1_000)


def test_a_record_carries_its_request() -> None:
    pending = make()
    submit(pending, "a")
    [effect] = pending.due(0.0)
    assert isinstance(effect, Send)
    data = wire.decode(effect.message)
    assert isinstance(data, wire.Data)
    record = wire.decode_record(data.records[0])
    assert record == wire.Record(1, 0, None, b"v", 0, 3, 1, 11_000, 1_000, WHOLE, 0)


def test_the_first_reply_counts_and_the_slot_is_freed_with_the_last_share() -> None:
    pending = make()
    submit(pending, "a")
    assert answer(pending, reply(1, WHOLE // 4, b"first")) == [
        ("a", Replied(200, [], "application/json", b"first"))
    ]
    assert len(pending) == 1
    assert answer(pending, reply(1, WHOLE // 4, b"second"), first=2) == [("a", Extra(7))]
    rest = WHOLE - 2 * (WHOLE // 4)
    assert answer(pending, (wire.COMPLETION, [(1, rest, 0)]), first=3) == []
    assert len(pending) == 0


def test_all_shares_back_without_a_reply_is_the_end() -> None:
    pending = make()
    submit(pending, "a")
    assert answer(pending, (wire.COMPLETION, [(1, WHOLE - 5, 0)])) == []
    assert answer(pending, (wire.COMPLETION, [(1, 5, 0)]), first=2) == [("a", Ended())]


def test_a_failure_answers() -> None:
    pending = make()
    submit(pending, "a")
    assert answer(pending, (wire.FAILURE, 1, WHOLE, 0, "e1", "total")) == [("a", Failed("e1", "total"))]


def test_a_timeout_answers_and_keeps_the_slot() -> None:
    pending = make(capacity=1)
    submit(pending, "a")
    outcomes: list[tuple[str, Outcome]] = []
    pending.expire(9.9, outcomes)
    assert outcomes == []
    pending.expire(10.0, outcomes)
    assert outcomes == [("a", TimedOut())]
    with pytest.raises(Full):
        submit(pending, "b")
    assert answer(pending, reply(1)) == []
    assert pending.counters.late_replies == 1
    submit(pending, "b")


def test_full_is_refused_and_one_worker_cannot_take_all() -> None:
    pending = make(workers=2, capacity=8)
    for _ in range(6):
        submit(pending, "a", subtask=0)
    with pytest.raises(Full, match="worker 0"):
        submit(pending, "a", subtask=0)
    for _ in range(2):
        submit(pending, "b", subtask=1)
    with pytest.raises(Full, match="gateway"):
        submit(pending, "b", subtask=1)
    assert pending.counters.refused == 2


def test_a_worker_without_space_is_not_given_more() -> None:
    pending = make()
    answer(pending, flags=wire.STORAGE_FULL)
    with pytest.raises(Full, match="disk space"):
        submit(pending, "a")
    answer(pending)
    submit(pending, "a")


@pytest.mark.parametrize("changes", [{"incarnation": 0}, {"generation": 2}, {"session": 4}, {"sender": "w9"}])
def test_messages_of_others_are_not_looked_at(changes: dict[str, Any]) -> None:
    pending = make()
    submit(pending, "a")
    assert answer(pending, reply(1), **changes) == []
    assert pending.counters.fenced == 1
    assert len(pending) == 1


def test_what_a_worker_sends_to_an_older_gateway_is_not_taken() -> None:
    pending = make()
    submit(pending, "a")
    assert answer(pending, reply(1), session=2, position=1) == []
    assert answer(pending, reply(1)) == [("a", Replied(200, [], "application/json", b"1"))]

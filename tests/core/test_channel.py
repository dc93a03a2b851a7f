"""One channel under loss, duplicates and restarts of either end: in order, exactly once."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mini_flink.core.channel import FRAME_BYTES, RESEND_AFTER_S, WINDOW_FRAMES, Inbound, Outbound


class Channel(RuleBasedStateMachine):
    """A durable sender, a receiver that commits what it took, and a network that does as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.saved: dict[int, bytes] = {}
        self.outbound = Outbound(100, self.saved.get)
        self.inbound = Inbound()
        self.sent: list[bytes] = []
        self.taken: list[bytes] = []
        self.committed: list[bytes] = []
        self.network: deque[tuple[int, list[bytes]]] = deque()

    @rule(size=st.integers(0, 60))
    def append(self, size: int) -> None:
        record = b"%d:" % len(self.sent) + b"x" * size
        assert self.outbound.append(record) == len(self.sent) + 1
        self.sent.append(record)

    @rule()
    def send(self) -> None:
        while (frame := self.outbound.frame(self.now)) is not None:
            self.network.append(frame)

    @rule(seconds=st.sampled_from((0.01, RESEND_AFTER_S, 10.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if (frame := self.outbound.overdue_frame(self.now)) is not None:
            self.network.append(frame)

    @precondition(lambda self: self.network)
    @rule(again=st.booleans())
    def deliver(self, again: bool) -> None:
        first, records = self.network[0] if again else self.network.popleft()
        number, new = self.inbound.accept(first, records)
        assert number == len(self.taken) + 1
        self.taken += new
        if self.inbound.gap_to_report(first):
            self.outbound.rewind(self.inbound.received)

    @precondition(lambda self: self.network)
    @rule()
    def lose(self) -> None:
        self.network.popleft()

    @rule()
    def commit(self) -> None:
        self.inbound.committed = self.inbound.received
        self.committed = list(self.taken)

    @rule()
    def acknowledge(self) -> None:
        self.outbound.acknowledge(self.inbound.committed, self.now)

    @rule()
    def save_and_evict(self) -> None:
        self.saved.update(self.outbound.unsaved(0 if not self.saved else max(self.saved)))
        self.outbound.evict(self.outbound.next - 1)

    @rule()
    def receiver_dies(self) -> None:
        self.network.clear()
        self.inbound = Inbound(len(self.committed))
        self.taken = list(self.committed)
        self.outbound.rewind(self.inbound.committed)

    @rule()
    def sender_dies(self) -> None:
        old = self.outbound
        self.outbound = Outbound(100, self.saved.get, acked=old.acked, next=1)
        for number, record in enumerate(self.sent, 1):
            self.outbound.restore(number, record)
        self.network.clear()

    @invariant()
    def in_order_and_once(self) -> None:
        assert self.taken == self.sent[: len(self.taken)]
        assert self.outbound.acked <= len(self.committed)

    def teardown(self) -> None:
        for _ in range(4 * len(self.sent) + 4):
            self.wait(10.0)
            self.send()
            while self.network:
                self.deliver(again=False)
            self.commit()
            self.acknowledge()
        assert self.committed == self.sent
        assert self.outbound.memory_bytes == 0
        assert self.outbound.due_s() is None


TestChannel = Channel.TestCase
TestChannel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_frame_holds_a_mebibyte_or_one_record() -> None:
    outbound = Outbound(FRAME_BYTES * 8, lambda _: None)
    for size in (FRAME_BYTES * 2, 600_000, 600_000, 1):
        outbound.append(b"x" * size)
    frames = [outbound.frame(0.0) for _ in range(4)]
    assert [(first, [len(record) for record in records]) for first, records in filter(None, frames)] == [
        (1, [FRAME_BYTES * 2]),
        (2, [600_000]),
        (3, [600_000, 1]),
    ]


def test_no_more_frames_than_a_pipe_holds() -> None:
    outbound = Outbound(FRAME_BYTES, lambda _: None)
    frames = 0
    for _ in range(WINDOW_FRAMES * 2):
        outbound.append(b"x")
        frames += outbound.frame(0.0) is not None
    assert frames == WINDOW_FRAMES
    outbound.acknowledge(1, 0.0)
    first, records = outbound.frame(0.0) or (0, [])
    assert (first, len(records)) == (WINDOW_FRAMES + 1, WINDOW_FRAMES)


def test_a_lost_tail_is_sent_again_with_growing_pauses() -> None:
    outbound = Outbound(1000, lambda _: None)
    outbound.append(b"a")
    outbound.frame(0.0)
    pauses, last, now = [], 0.0, 0.0
    while len(pauses) < 7:
        due = outbound.due_s()
        assert due is not None
        now = due
        assert outbound.overdue_frame(now) == (1, [b"a"])
        pauses.append(round(now - last, 3))
        last = now
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert outbound.resent == 7

"""One channel: an ordered sequence of records from one process to another, numbered from 1.

``Outbound`` is the sender's half, ``Inbound`` the receiver's. ZeroMQ carries the frames and promises nothing;
what is promised is made here: a record is taken only if its number is the next one (a lower one is a
duplicate, a higher one a gap that asks for a resend), the sender keeps records until they are acknowledged,
and a lost tail, which shows no gap, is sent again after a while.

The halves know no process, no socket and no disk. Whether a position may be told is the owner's decision:
``Inbound.received`` judges gaps, ``Inbound.committed`` is what may be acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile

FRAME_BYTES = 1024 * 1024
RESEND_AFTER_S = 0.2
RESEND_MAX_S = 5.0
FULL_RESENDS = 4
"""Whole frames sent again to a peer that does not answer; then one record is enough to ask."""
TRACES_LIMIT = 4096
"""Records of one channel whose trace contexts are kept; what is over it goes untraced from here on."""
WINDOW_FRAMES = 128
"""Frames under way at most: fewer than the transport's pipes hold, so that none is refused there."""


class Outbound:
    """The sender's half: numbers records, keeps them until acknowledged, sends them within a window.

    ``fetch(number)`` reads a record that is no longer in memory (see ``evict``). Once given, numbers are
    never withdrawn.
    """

    __slots__ = (
        "_backoff_s", "_fetch", "_in_flight", "_in_flight_bytes", "_oldest_sent_s", "_overdue", "_records",
        "_window_bytes", "acked", "contexts", "memory_bytes", "next", "resent", "sent",
    )  # fmt: skip

    def __init__(
        self, window_bytes: int, fetch: Callable[[int], bytes | None], *, acked: int = 0, next: int = 1
    ) -> None:
        self.acked = acked
        self.next = next
        self.sent = acked
        self.resent = 0
        self.memory_bytes = 0
        self._records: dict[int, bytes] = {}
        self._fetch = fetch
        self._window_bytes = window_bytes
        self._in_flight: deque[tuple[int, int]] = deque()
        self._in_flight_bytes = 0
        self._oldest_sent_s = 0.0
        self._backoff_s = RESEND_AFTER_S
        self._overdue = 0
        self.contexts: dict[int, bytes] = {}

    def append(self, record: bytes) -> int:
        """Take a record in; its number."""
        number = self.next
        self._records[number] = record
        self.memory_bytes += len(record)
        self.next = number + 1
        return number

    def trace(self, number: int, context: bytes) -> None:
        """A record just appended belongs to a trace: its frames say so, as long as this process lives."""
        if len(self.contexts) < TRACES_LIMIT:
            self.contexts[number] = context

    def traces(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """What a frame says of the traces of its records; there are some if there are ``contexts``."""
        numbers = range(first, first + count)
        return [(number - first, self.contexts[number]) for number in numbers if number in self.contexts]

    def acknowledge(self, position: int, now: float) -> bool:
        """The receiver has committed all up to ``position``; True if that was news."""
        if position <= self.acked:
            return False
        position = min(position, self.next - 1)
        for number in range(self.acked + 1, position + 1):
            record = self._records.pop(number, None)
            if record is not None:
                self.memory_bytes -= len(record)
        if self.contexts:
            for number in list(takewhile(lambda number: number <= position, self.contexts)):
                del self.contexts[number]
        self.acked = position
        self.sent = max(self.sent, position)
        while self._in_flight and self._in_flight[0][0] <= position:
            self._in_flight_bytes -= self._in_flight.popleft()[1]
        self._oldest_sent_s = now
        self._backoff_s = RESEND_AFTER_S
        self._overdue = 0
        return True

    def rewind(self, position: int) -> None:
        """Send again from ``position + 1``: the receiver is new or has told of a gap."""
        position = max(position, self.acked)
        if position < self.sent:
            self.resent += self.sent - position
            self.sent = position
        self._in_flight.clear()
        self._in_flight_bytes = 0

    def frame(self, now: float) -> tuple[int, list[bytes]] | None:
        """The next frame to send, (first number, records), or None: nothing is due or the window is full.

        At most ``FRAME_BYTES``, or one record.
        """
        if self.sent + 1 >= self.next or self._in_flight_bytes >= self._window_bytes:
            return None
        if len(self._in_flight) >= WINDOW_FRAMES:
            return None
        if self.sent == self.acked:
            self._oldest_sent_s = now
        first = self.sent + 1
        records = self._collect(first)
        size = sum(map(len, records))
        self.sent += len(records)
        self._in_flight.append((self.sent, size))
        self._in_flight_bytes += size
        return first, records

    def _collect(self, first: int) -> list[bytes]:
        records: list[bytes] = []
        size = 0
        for number in range(first, self.next):
            record = self._record(number)
            size += len(record)
            if records and size > FRAME_BYTES:
                break
            records.append(record)
        return records

    def _record(self, number: int) -> bytes:
        record = self._records.get(number)
        if record is None:
            record = self._fetch(number)
            if record is None:
                raise LookupError(f"record {number} is neither acknowledged nor kept: this is a bug")
        return record

    def overdue_frame(self, now: float) -> tuple[int, list[bytes]] | None:
        """The first unacknowledged frame, if it was sent too long ago: a lost tail shows no gap."""
        if self.sent == self.acked or now < self._oldest_sent_s + self._backoff_s:
            return None
        self._oldest_sent_s = now
        self._backoff_s = min(self._backoff_s * 2, RESEND_MAX_S)
        first = self.acked + 1
        records = self._collect(first)[: self.sent - self.acked]
        self._overdue += 1
        if self._overdue > FULL_RESENDS:
            records = records[:1]
        self.resent += len(records)
        return first, records

    def due_s(self) -> float | None:
        """When ``overdue_frame`` should be asked next; None if nothing is under way."""
        return None if self.sent == self.acked else self._oldest_sent_s + self._backoff_s

    def unsaved(self, after: int) -> list[tuple[int, bytes]]:
        """The unacknowledged records with numbers above ``after``, all of which are in memory."""
        start = max(after, self.acked) + 1
        return [(number, self._records[number]) for number in range(start, self.next)]

    def remaining(self) -> Iterator[tuple[int, bytes]]:
        """All records that are not acknowledged, in order."""
        return ((number, self._record(number)) for number in range(self.acked + 1, self.next))

    def restore(self, number: int, record: bytes) -> None:
        """Put back a record that recovery found in the log."""
        if number > self.acked:
            self._records[number] = record
            self.memory_bytes += len(record)
        self.next = max(self.next, number + 1)

    def evict(self, saved: int) -> None:
        """Forget the records up to ``saved``, which ``fetch`` can read, beyond a window's worth."""
        if self.memory_bytes <= self._window_bytes:
            return
        for number in range(min(saved, self.next - 1), self.acked, -1):
            record = self._records.pop(number, None)
            if record is not None:
                self.memory_bytes -= len(record)
                if self.memory_bytes <= self._window_bytes:
                    return


class Inbound:
    """The receiver's half: which records are new, whether one is missing, and what is committed."""

    __slots__ = ("_gap_asked", "committed", "duplicates", "gaps", "received")

    def __init__(self, position: int = 0) -> None:
        self.received = position
        self.committed = position
        self.duplicates = 0
        self.gaps = 0
        self._gap_asked = -1

    def accept(self, first: int, records: list[bytes]) -> tuple[int, list[bytes]]:
        """The new ones among ``records``, numbered from ``first``, and the number of the first of them.

        A gap gives none; ``gap_to_report`` then tells whether to ask for a resend.
        """
        expected = self.received + 1
        if first > expected:
            self.gaps += 1
            return expected, []
        known = expected - first
        if known:
            self.duplicates += min(known, len(records))
            records = records[known:]
        self.received += len(records)
        if records:
            self._gap_asked = -1
        return expected, records

    def gap_to_report(self, first: int) -> bool:
        """Whether ``first`` leaves a gap that was not reported yet. The lost-tail timer repeats the rest."""
        if first <= self.received + 1 or self._gap_asked == self.received:
            return False
        self._gap_asked = self.received
        return True

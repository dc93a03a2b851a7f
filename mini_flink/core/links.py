"""A worker's channels with one peer: both directions, the peer's incarnation, and what of it is durable.

Between two workers the numbers go on for ever. With a gateway they belong to a *session*, the gateway's
incarnation: a gateway's memory dies with it, so a higher incarnation starts both directions at 1 and discards
the outbox to the lower; a lower one is dropped. Nothing of a dead gateway needs collecting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mini_flink.core.channel import Inbound, Outbound
from mini_flink.state import layout

Fetch = Callable[[bytes], bytes | None]


class Link:
    """One peer as a worker sees it. ``fetch`` reads the table."""

    __slots__ = (
        "_ended", "_fetch", "_saved", "_saved_from", "_stale", "_window_bytes", "endpoint", "flags",
        "inbound", "incarnation", "is_gateway", "logged", "outbound", "owes_position", "peer", "processed",
        "session",
    )  # fmt: skip

    def __init__(self, peer: str, window_bytes: int, fetch: Fetch, *, is_gateway: bool = False) -> None:
        self.peer = peer
        self.is_gateway = is_gateway
        self.incarnation = 0
        self.endpoint = ""
        self.session = 0
        self.owes_position = False
        self.flags = 0
        self._window_bytes = window_bytes
        self._fetch = fetch
        self._stale: list[tuple[int, int, int]] = []
        self._ended = (0, 0, 0)
        self._start(0, 0, 1)

    def _start(self, position: int, acked: int, next: int) -> None:
        self.inbound = Inbound(position)
        self.processed = position
        session = self.session
        self.outbound = Outbound(
            self._window_bytes, lambda number: self._fetch(self._key(session, number)), acked=acked, next=next
        )
        self.logged = next
        self._saved_from = acked + 1
        self._saved = next - 1

    def _key(self, session: int, number: int) -> bytes:
        return layout.outbox_key(f"{self.peer}/{session}".encode(), number)

    def hear_of(self, session: int) -> bool:
        """A gateway's incarnation was seen: False if it is dead; a newer one starts a new session."""
        if session == self.session:
            return True
        if session < self.session:
            return False
        self._ended = (self.resent, self.duplicates, self.gaps)
        if self._saved >= self._saved_from:
            self._stale.append((self.session, self._saved_from, self._saved))
        self.session = session
        self._start(0, 0, 1)
        return True

    @property
    def resent(self) -> int:
        """Records sent more than once, in all sessions."""
        return self._ended[0] + self.outbound.resent

    @property
    def duplicates(self) -> int:
        """Records received more than once, in all sessions."""
        return self._ended[1] + self.inbound.duplicates

    @property
    def gaps(self) -> int:
        """Frames that came too early, in all sessions."""
        return self._ended[2] + self.inbound.gaps

    def durable_state(self) -> list[int]:
        """What a commit says of this link: session, committed position, acknowledged, next number."""
        return [self.session, self.inbound.committed, self.outbound.acked, self.outbound.next]

    def take_over(self, session: int, position: int, acked: int, next: int) -> None:
        """What the table said of this link at its commit; its outbox records are in the table too."""
        self.session = session
        self._start(position, acked, next)

    def redo(self, session: int, position: int, acked: int) -> None:
        """What a later commit in the log said; the records it put out follow with ``redo_output``."""
        self.hear_of(session)
        self.inbound.received = self.inbound.committed = self.processed = position
        self.outbound.next = max(self.outbound.next, acked + 1)
        self.outbound.acknowledge(acked, 0.0)

    def redo_output(self, first: int, records: list[bytes]) -> None:
        """Records of the outbox that recovery found in the log."""
        for number, record in enumerate(records, first):
            self.outbound.restore(number, record)

    def redo_next(self, next: int) -> None:
        """The next number after a redone commit: records that were consumed at once were never logged."""
        self.outbound.next = max(self.outbound.next, next)
        self.logged = self.outbound.next

    def new_outputs(self) -> tuple[int, list[bytes]] | None:
        """What was appended since the last commit and is still to be delivered; for the log."""
        items = self.outbound.unsaved(self.logged - 1)
        self.logged = self.outbound.next
        return (items[0][0], [record for _, record in items]) if items else None

    def flush_items(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What the table must be told of the outbox: unacknowledged records in, acknowledged ones out."""
        for session, first, last in self._stale:
            yield from ((self._key(session, number), None) for number in range(first, last + 1))
        self._stale.clear()
        outbound = self.outbound
        for number in range(self._saved_from, min(outbound.acked, self._saved) + 1):
            yield self._key(self.session, number), None
        for number, record in outbound.unsaved(self._saved):
            yield self._key(self.session, number), record
        self._saved_from = outbound.acked + 1
        self._saved = outbound.next - 1

    def flushed(self) -> None:
        """The table has it: what is far from being sent need not be in memory."""
        self.outbound.evict(self._saved)

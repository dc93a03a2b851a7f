"""One snapshot at a time: which epoch is being taken, and which workers still owe their part.

A machine without I/O. Whoever runs it gives out the epochs (each durable before it is announced, none ever
used twice), carries messages, and writes the manifest once ``report`` says that nothing is missing. An epoch
that a worker could not report, because it died or found no space, is *abandoned*: it is never tried again, the
next one is another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Round:
    """A snapshot in progress. ``missing``: the workers whose parts have not come yet."""

    epoch: int
    began_ms: int
    missing: set[int]
    parts: dict[int, Any] = field(default_factory=dict)


class SnapshotRounds:
    """At most one round is under way.

    >>> rounds = SnapshotRounds()
    >>> rounds.begin(7, [0, 1], now_ms=0)
    >>> rounds.report(0, 7, "part 0"), rounds.report(1, 6, "late"), rounds.report(1, 7, "part 1")
    (None, None, {0: 'part 0', 1: 'part 1'})
    >>> rounds.begin(8, [0, 1], now_ms=0)
    >>> rounds.died(1), rounds.report(0, 8, "too late")
    (8, None)
    """

    def __init__(self) -> None:
        self.current: Round | None = None

    def begin(self, epoch: int, workers: Iterable[int], now_ms: int) -> None:
        """An epoch is announced; an unfinished older one is dropped."""
        self.current = Round(epoch, now_ms, set(workers))

    def report(self, worker: int, epoch: int, part: Any) -> dict[int, Any] | None:
        """A worker's part is stored; all parts, once there is none missing."""
        current = self.current
        if current is None or current.epoch != epoch:
            return None
        current.parts[worker] = part
        current.missing.discard(worker)
        if current.missing:
            return None
        self.current = None
        return current.parts

    def died(self, worker: int) -> int | None:
        """A worker is gone: the epoch that is abandoned by that, if its part is missing."""
        current = self.current
        return self.abandon() if current is not None and worker in current.missing else None

    def abandon(self) -> int | None:
        """Give up what is under way: its epoch."""
        current, self.current = self.current, None
        return None if current is None else current.epoch

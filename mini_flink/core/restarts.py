"""When to start a process again that died: a machine without I/O, one per process.

Owns the back-off and the decision to give up. Never starts anything and reads no clock: the supervisor says
what happened and when.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_MS = 100
LONGEST_DELAY_MS = 5_000
HEALTHY_MS = 10_000
PAID_BACK_MS = 2_000
START_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after ``delay_ms``."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It has never been ready, and died at ``attempts`` starts in a row."""

    attempts: int


class RestartPolicy:
    """At once the first time, then 100 ms and twice as long at every death, up to 5 s.

    Being ready pays back: one step per 2 s, all of it after 10 s. A process that is killed now and then is
    thus always back at once, one that dies in a loop is slowed down. Only a process that has never been ready
    is given up: one that was may only wait for something, such as disk space, to come back.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self._step = 0
        self._failed_starts = 0
        self._ready_at_ms: int | None = None
        self._was_ready = False

    def ready(self, now_ms: int) -> None:
        """It serves."""
        self._ready_at_ms = now_ms
        self._was_ready = True

    def died(self, now_ms: int) -> Restart | GiveUp:
        """It is gone; what to do."""
        if self._ready_at_ms is None:
            self._failed_starts += 1
        else:
            self._pay_back(now_ms - self._ready_at_ms)
        self._ready_at_ms = None
        if not self._was_ready and self._failed_starts >= START_ATTEMPTS:
            return GiveUp(self._failed_starts)
        self.restarts += 1
        delay_ms = 0 if self._step == 0 else min(LONGEST_DELAY_MS, FIRST_DELAY_MS << (self._step - 1))
        self._step += 1
        return Restart(delay_ms)

    def _pay_back(self, ready_ms: int) -> None:
        if ready_ms >= HEALTHY_MS:
            self._step = 0
        else:
            self._step = max(0, self._step - ready_ms // PAID_BACK_MS)

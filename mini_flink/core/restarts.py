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

    Having worked pays all of it back, so a process that is killed under load is always back at once, however
    often; being ready without work pays one step per 2 s, and all after 10 s. One that dies in a loop before
    it gets to work is slowed down. Only a process that has never been ready is given up: one that was may
    only wait for something, such as disk space, to come back.
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

    @property
    def was_ready(self) -> bool:
        """Whether it has ever served."""
        return self._was_ready

    def died(self, now_ms: int, *, worked: bool = False) -> Restart | GiveUp:
        """It is gone, ``worked``: after it had taken up work; what to do."""
        if self._ready_at_ms is None:
            self._failed_starts += 1
        else:
            self._pay_back(HEALTHY_MS if worked else now_ms - self._ready_at_ms)
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

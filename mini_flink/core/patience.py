"""How long somebody may be waited for who does not get on: a machine without clocks.

What counts is the time since the last sign of progress, not since the beginning: a copy of a terabyte may
take its hours. Called by ``supervisor.changeover``.
"""

from __future__ import annotations


class Patience:
    """``over`` once nothing has moved for the limit; without a limit it never is."""

    def __init__(self) -> None:
        self._moved_ms = 0
        self._limit_ms: int | None = None
        self._last: object = None

    def begin(self, limit_ms: int | None, now_ms: int) -> None:
        """Something else is waited for from now on."""
        self._moved_ms, self._limit_ms, self._last = now_ms, limit_ms, None

    def moved(self, now_ms: int, how_far: object = None) -> None:
        """It has got on; ``how_far``, if given, must differ from what was said last: else it has not."""
        if how_far is None or how_far != self._last:
            self._moved_ms, self._last = now_ms, how_far

    @property
    def limit_ms(self) -> int:
        """How long nothing may move; 0: for ever."""
        return self._limit_ms or 0

    def over(self, now_ms: int) -> bool:
        """Whether nothing has moved for too long."""
        due_ms = self.due_ms()
        return due_ms is not None and now_ms >= due_ms

    def due_ms(self) -> int | None:
        """When it is over, if nothing moves until then."""
        return None if self._limit_ms is None else self._moved_ms + self._limit_ms

"""How far something is that takes long: on a terminal a line that is redrawn, elsewhere a line every 5 s.

The first second shows nothing. Who does the work says how far it is, or only that time has passed. Writes to
stderr: results are on stdout.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from mini_flink import units

FIRST_S = 1.0
REDRAW_S = 0.1
SAY_EVERY_S = 5.0
WIDTH = 20
BYTES = "bytes"
_CLEARED = "\r\x1b[K"


class Bar:
    """``what`` is being done. ``say`` gets the lines where nothing can be redrawn; a line of stderr else."""

    def __init__(
        self,
        what: str,
        *,
        say: Callable[[str], None] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        is_drawn: bool = True,
    ) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._say = say or self.say
        self._clock = clock
        self._is_drawn = is_drawn and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._began_s = self._since_s = clock()
        self._due_s = self._began_s + (FIRST_S if self._is_drawn else SAY_EVERY_S)
        self._is_shown = False
        self.done: int = 0
        self.total: int | None = None
        self._unit = ""

    def begin(self, what: str) -> None:
        """Something else is done from here on; how far it is is not known."""
        self._what, self._since_s = what, self._clock()
        self.done, self.total, self._unit = 0, None, ""

    def show(self, done: int, total: int | None, unit: str) -> None:
        """``done`` of ``total`` is done; ``unit`` is ``bytes``, or what is counted."""
        self.done, self.total, self._unit = done, total, unit
        self.turn()

    def turn(self) -> None:
        """Time has passed."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        text = self.text(now_s)
        if self._is_drawn:
            self._due_s = now_s + REDRAW_S
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
            self._write(f"{_CLEARED}{text[: width - 1]}")
            self._is_shown = True
        else:
            self._due_s = now_s + SAY_EVERY_S
            self._say(text)

    def text(self, now_s: float) -> str:
        """``copy  [#####···············]  41 MB of 164 MB, 12 s, 36 s left``."""
        spent_s = now_s - self._since_s
        took = units.duration(round(spent_s))
        if not self._unit:
            return f"{self._what}: {took}"
        if not self.total:
            return f"{self._what}: {self._count(self.done)}, {took}"
        share = min(1.0, self.done / self.total)
        filled = round(WIDTH * share)
        drawn = f"  [{'#' * filled}{'·' * (WIDTH - filled)}]  " if self._is_drawn else ": "
        left = f", about {units.duration(round(spent_s * (1 - share) / share))} left" if share > 0 else ""
        of = f"{self._plain(self.done)} of {self._count(self.total)}"
        return f"{self._what}{drawn}{of}, {took}{left}"

    def _count(self, number: int) -> str:
        return units.size(number) if self._unit == BYTES else f"{units.exact(number)} {self._unit}"

    def _plain(self, number: int) -> str:
        return units.size(number) if self._unit == BYTES else units.exact(number)

    def say(self, line: str) -> None:
        """A line of its own, which stays."""
        self.close()
        self._write(f"{line}\n")

    def close(self) -> None:
        """Take the line away: what has come of it is said by somebody else."""
        if self._is_shown:
            self._write(_CLEARED)
            self._is_shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

"""Slow device work beside the loop: writing a frozen layer to the table, preparing a log segment.

One thread does one thing after another and leaves the outcome for the loop, which it wakes. It touches no
engine: what it is given was frozen before.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from mini_flink.errors import MiniFlinkError
from mini_flink.faults import crash_point


class Outcome(NamedTuple):
    """What became of a piece of work."""

    name: str
    error: Exception | None


class Background(Protocol):
    """Runs work and tells of its end; at most one of a name at a time."""

    def submit(self, name: str, work: Callable[[], None]) -> None:
        """Run ``work`` soon."""

    def outcomes(self) -> list[Outcome]:
        """What has ended since the last call."""

    def join(self) -> None:
        """Wait until nothing runs; the outcomes are still to be asked for."""


class ThreadBackground:
    """The real one. ``fileno`` becomes readable when there is an outcome."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[str, Callable[[], None]]] = SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._running = 0
        self._idle = threading.Condition()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        threading.Thread(target=self._run, name="mini_flink background", daemon=True).start()

    def fileno(self) -> int:
        """A descriptor to wait on."""
        return self._reader

    def submit(self, name: str, work: Callable[[], None]) -> None:
        with self._idle:
            self._running += 1
        self._work.put((name, work))

    def _run(self) -> None:
        while True:
            name, work = self._work.get()
            error: Exception | None = None
            try:
                work()
            except Exception as failure:  # handed to the loop, which ends the process for all but a full disk
                error = failure
            crash_point(f"after_{name}")
            with self._idle:
                self._outcomes.append(Outcome(name, error))
                os.write(self._writer, b"\0")
                self._running -= 1
                self._idle.notify_all()

    def outcomes(self) -> list[Outcome]:
        if not self._outcomes:
            return []
        with self._idle:  # an outcome and its byte come together
            os.read(self._reader, 4096)
            return [self._outcomes.popleft() for _ in range(len(self._outcomes))]

    def join(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0)


class InlineBackground:
    """The twin: does the work at once, in the caller's thread."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def submit(self, name: str, work: Callable[[], None]) -> None:
        error: Exception | None = None
        try:
            work()
        except (OSError, MiniFlinkError) as failure:
            error = failure
        self._outcomes.append(Outcome(name, error))

    def outcomes(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def join(self) -> None:
        """Nothing runs."""

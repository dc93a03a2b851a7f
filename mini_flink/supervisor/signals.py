"""Signals as data: a handler does nothing, the loop reads from a pipe which ones have come."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

_WANTED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalPipe:
    """Collects SIGTERM, SIGINT and SIGHUP while it is entered; main thread only."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._before: dict[signal.Signals, signal._HANDLER] = {}
        self._fd_before = -1

    def __enter__(self) -> SignalPipe:
        self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _WANTED:
            self._before[number] = signal.signal(number, _noted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._reader

    def received(self) -> list[signal.Signals]:
        """Those that have come since the last call."""
        try:
            numbers = os.read(self._reader, 4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in numbers if number in _WANTED]


def _noted(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has it already."""

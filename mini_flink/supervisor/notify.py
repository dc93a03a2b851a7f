"""Word to systemd (``Type=notify``): ready, status, watchdog, more time, stopping. Silent without systemd.

Every word comes from the supervisor's own loop, so that a loop that does not turn says nothing, and systemd
ends it. The one exception is ``getting_on``, for what is done before there is a loop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from mini_flink import procfs

EXTEND_EVERY_MS = 5_000
RETRY_MS = 100
EXTENSION_US = 30_000_000
STALLED_MS = 60_000
"""A process that is to start or to end and does nothing at all for so long: nobody is mending that."""


def notify(*lines: str) -> bool:
    """Send ``lines`` such as ``READY=1`` to the service manager, if there is one.

    False if it does not take any just now: nobody who serves waits for it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return True
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, address)
        except BlockingIOError:
            return False
        except OSError:  # there is nobody
            return True
    return True


def watchdog_interval_ms(environment: Mapping[str, str], pid: int) -> int | None:
    """How often systemd wants to hear from process ``pid``: half of its limit; None if it does not."""
    limit_us, meant = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not limit_us.isdigit() or int(limit_us) == 0 or meant not in ("", str(pid)):
        return None
    return max(1, int(limit_us) // 2_000)


class ServiceManager:
    """What systemd is told, and when; driven by the loop, which asks for ``due_ms`` and calls ``step``.

    ``waited_for`` are the processes that were told to come or to go, and have not yet. Those that restart or
    recover use the processor; one that has used none for ``STALLED_MS``, such as a job's ``open`` that waits
    for ever, or a process that was killed and cannot end, is mended by nobody: then the watchdog hears no
    more, and more time is not asked for. A process that is dead does not count: the supervisor starts it
    again or gives up. Nor does one that is hung in a record: the supervisor kills it.
    """

    def __init__(self, now_ms: int) -> None:
        self.listens = bool(os.environ.get("NOTIFY_SOCKET"))
        """Whether there is one: else nobody need find out what to tell it."""
        self._watchdog_ms = watchdog_interval_ms(os.environ, os.getpid()) if self.listens else None
        self._watchdog_due_ms = self._extend_due_ms = now_ms
        self._status = ""
        self._unsent: dict[str, str] = {}
        self._retry_due_ms = now_ms
        self._moved: dict[int, tuple[int, int]] = {}

    def due_ms(self, *, in_between: bool) -> int | None:
        """When ``step`` has to be called next; ``in_between``: while it starts or stops."""
        due = [self._watchdog_due_ms] * (self._watchdog_ms is not None)
        due += [self._extend_due_ms] * (self.listens and in_between)
        due += [self._retry_due_ms] * bool(self._unsent)
        return min(due, default=None)

    def step(self, now_ms: int, status: str, waited_for: Iterable[int], *, in_between: bool) -> None:
        """Tell what there is to tell: a new ``status`` at once, the rest when it is due."""
        if status != self._status:
            self._status = status
            self._unsent["STATUS"] = status
        lines = [f"{name}={text}" for name, text in self._unsent.items()]
        is_watched = self._watchdog_ms is not None and now_ms >= self._watchdog_due_ms
        is_extended = in_between and now_ms >= self._extend_due_ms
        if (is_watched or is_extended) and not self._stalled(now_ms, waited_for):
            lines += ["WATCHDOG=1"] * is_watched
            lines += [f"EXTEND_TIMEOUT_USEC={EXTENSION_US}"] * is_extended
        if is_watched:
            self._watchdog_due_ms = now_ms + (self._watchdog_ms or 0)
        if is_extended:
            self._extend_due_ms = now_ms + EXTEND_EVERY_MS
        if lines and notify(*lines):
            self._unsent.clear()
        self._retry_due_ms = now_ms + RETRY_MS

    def ready(self, status: str) -> None:
        """Requests succeed."""
        self._tell("READY", status)

    def stopping(self, status: str) -> None:
        """It was told to stop."""
        self._tell("STOPPING", status)
        self._extend_due_ms = 0  # its time is the stop's from here on

    def _tell(self, word: str, status: str) -> None:
        self._status = status
        self._unsent.pop("STATUS", None)
        self._unsent |= {word: "1", "STATUS": status}
        if notify(*(f"{name}={text}" for name, text in self._unsent.items())):
            self._unsent.clear()

    def _stalled(self, now_ms: int, waited_for: Iterable[int]) -> bool:
        """Whether one of the processes has not moved for too long."""
        before, self._moved = self._moved, {}
        for pid in waited_for:
            ticks = procfs.cpu_ticks(pid)
            used, since_ms = before.get(pid, (-1, now_ms))
            self._moved[pid] = (ticks, now_ms if ticks != used else since_ms)
        return any(now_ms - since_ms >= STALLED_MS for _, since_ms in self._moved.values())


@contextlib.contextmanager
def getting_on(status: str) -> Iterator[None]:
    """While it is entered, ask for more time to start, as long as this thread uses the processor.

    For state that is restored or moved before the first process begins, however much there is of it.
    """
    if not os.environ.get("NOTIFY_SOCKET"):
        yield
        return
    clock, done = time.pthread_getcpuclockid(threading.get_ident()), threading.Event()

    def ask() -> None:
        used = -1.0
        while (now := time.clock_gettime(clock)) != used:
            used = now
            notify(f"EXTEND_TIMEOUT_USEC={EXTENSION_US}", f"STATUS={status}")
            if done.wait(EXTEND_EVERY_MS / 1000):
                return

    asker = threading.Thread(target=ask, name="service manager", daemon=True)
    asker.start()
    try:
        yield
    finally:
        done.set()
        asker.join()

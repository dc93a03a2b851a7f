"""Named points at which a test can have this process killed; nothing at all in normal use.

``MINI_FLINK_CRASH="after_log_write"`` kills with SIGKILL at the first passage, ``after_log_write:3`` at the
third, ``:*`` at any, ``w0@after_log_write:3`` only in the process of that name; several are separated by
commas. With ``MINI_FLINK_CRASH_ONCE_DIR`` set to a folder each of them kills once and leaves a file there, so
that the process that replaces the killed one gets further. Who removes that file arms the point again.

The processes' mains say who they are with :func:`enable`; :func:`crash_point` stands where a crash is
interesting, and is an empty function when the variable is not set.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

POINTS_VARIABLE = "MINI_FLINK_CRASH"
ONCE_VARIABLE = "MINI_FLINK_CRASH_ONCE_DIR"
ANY = 0


class CrashPlan:
    """At which passage of which point this process is to die."""

    def __init__(self, text: str, once_dir: str, kill: Callable[[], None]) -> None:
        self.name = ""
        self._once_dir = once_dir
        self._kill = kill
        self._passed: dict[str, int] = {}
        self._points = [_parse(part) for part in text.split(",") if part.strip()]

    def passed(self, point: str) -> None:
        """Count a passage of ``point``; does not return when this is the one."""
        count = self._passed[point] = self._passed.get(point, 0) + 1
        for name, wanted, at in self._points:
            is_due = point == wanted and at in (ANY, count) and name in ("", self.name)
            if is_due and self._first(name, point, at):
                self._kill()

    def _first(self, name: str, point: str, at: int) -> bool:
        if not self._once_dir:
            return True
        path = os.path.join(self._once_dir, f"{name or self.name}-{point}-{at}")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True


def _parse(part: str) -> tuple[str, str, int]:
    name, _, rest = part.strip().rpartition("@")
    point, _, count = rest.partition(":")
    return name, point, ANY if count == "*" else int(count or 1)


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _nothing(point: str) -> None:
    """No crash is planned."""


def _from_environment(environment: Mapping[str, str]) -> CrashPlan | None:
    text = environment.get(POINTS_VARIABLE, "")
    return CrashPlan(text, environment.get(ONCE_VARIABLE, ""), _kill_self) if text else None


_plan = _from_environment(os.environ)
crash_point: Callable[[str], None] = _nothing if _plan is None else _plan.passed


def enable(name: str) -> None:
    """Say which process this is, for points that are restricted to one."""
    if _plan is not None:
        _plan.name = name

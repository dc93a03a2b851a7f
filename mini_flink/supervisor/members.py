"""One member per process of the server, through all its incarnations.

Owns the operating system's side (start, exit descriptor, kill) and the state. Decides nothing: see ``loop``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mini_flink import procfs
from mini_flink.core.restarts import RestartPolicy
from mini_flink.progress import PageReader
from mini_flink.spec import SERVE, SPARE
from mini_flink.supervisor.hangs import HangWatch

STARTING, READY, STOPPING, WAITING, GONE = "starting", "ready", "stopping", "waiting", "gone"

CHILD_MODULES: Mapping[str, str] = {
    "worker": "mini_flink.worker",
    "gateway": "mini_flink.gateway",
    "resharder": "mini_flink.resharder",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and with which environment the server was started, before the job could change them."""

    directory: str
    environment: Mapping[str, str]


class Spare:
    """A worker's process that nobody is yet: it loads the job, and will be told who it is."""

    def __init__(self, module: str, task: Mapping[str, Any], alive_fd: int, origin: Origin) -> None:
        reader, self._writer = os.pipe()
        words = [SPARE, json.dumps({**task, "descriptor": reader})]
        self._child = _spawn([module, *words], [alive_fd, reader], origin)
        os.close(reader)

    def become(self, spec_path: str) -> subprocess.Popen[bytes] | None:
        """It is now whoever ``spec_path`` describes; None if it has ended."""
        if self._child.poll() is not None:
            os.close(self._writer)
            return None
        with contextlib.suppress(BrokenPipeError):  # it ends just now: as any start that came to nothing
            os.write(self._writer, f"{spec_path}\n".encode())
        os.close(self._writer)
        return self._child

    def end(self) -> None:
        """Nobody needs it."""
        os.close(self._writer)
        self._child.kill()
        self._child.wait()


def _spawn(words: list[str], fds: Sequence[int], origin: Origin) -> subprocess.Popen[bytes]:
    """A process in a group of its own: Ctrl-C in a terminal is for the supervisor alone."""
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        stdin=subprocess.DEVNULL,
        pass_fds=tuple(fds),
        process_group=0,
        cwd=origin.directory,
        env=origin.environment,
    )


@dataclass(slots=True, eq=False)
class Member:
    """A worker, a gateway or a resharder. ``state`` is one of starting, ready, stopping, waiting (to be
    started), gone; ``generation`` is whose plan it follows, ``mode`` and ``task`` are those of its spec.
    """

    role: str
    index: int
    name: str
    page: PageReader
    watch: HangWatch
    page_path: str
    generation: int = 1
    mode: str = SERVE
    task: Mapping[str, Any] = field(default_factory=dict)
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    state: str = WAITING
    incarnation: int = 0
    endpoint: str = ""
    start_at_ms: int | None = 0
    died_at_ms: int | None = None
    ended: str = ""
    last_exit: str = ""
    unsent: dict[int, bytes] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None
    _pidfd: int = -1

    @property
    def title(self) -> str:
        """As a person calls it: ``worker 0``."""
        return self.role if self.role == "resharder" else f"{self.role} {self.index}"

    @property
    def address(self) -> str:
        """What only this incarnation is called: two generations have workers of one name."""
        return f"{self.name}.{self.incarnation}"

    @property
    def running(self) -> bool:
        return self._child is not None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def exit_fd(self) -> int:
        """Readable when the process has ended."""
        return self._pidfd

    def start(
        self, module: str, spec_path: str, fds: Sequence[int], origin: Origin, spare: Spare | None = None
    ) -> None:
        """Start the process, or let ``spare`` be it."""
        child = spare.become(spec_path) if spare else None
        self._child = child or _spawn([module, spec_path], fds, origin)
        self._pidfd = os.pidfd_open(self._child.pid)
        self.start_at_ms = None
        self.ended = ""

    def kill(self, why: str = "") -> None:
        """End the process at once; its exit is reported by ``exit_fd``."""
        if self._child is not None:
            self.ended = self.ended or why
            self._child.kill()

    def reap(self) -> int:
        """Take the exit status of the process that has ended: a code, or minus the signal's number."""
        if self._child is None:
            raise RuntimeError(f"{self.name} is not running")
        status = self._child.wait()
        os.close(self._pidfd)
        self._child, self._pidfd = None, -1
        self.last_exit = describe_exit(status) + (f" ({self.ended})" if self.ended else "")
        return status

    def show_stack(self) -> None:
        """Let the process print its stack, if it has prepared for that."""
        if self._child is not None and procfs.catches(self._child.pid, signal.SIGUSR1):
            self._child.send_signal(signal.SIGUSR1)


def describe_exit(status: int) -> str:
    """``SIGKILL`` or ``exit code 3``."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"

"""One member per process of the server, through all its incarnations.

Owns the operating system's side (start, exit descriptor, kill) and the state. Decides nothing: see ``loop``.
"""

from __future__ import annotations

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
from mini_flink.spec import SERVE
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

    def start(self, module: str, spec_path: str, fds: Sequence[int], origin: Origin) -> None:
        """Start the process, in a group of its own: Ctrl-C in a terminal is for the supervisor alone."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, spec_path],
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(fds),
            process_group=0,
            cwd=origin.directory,
            env=origin.environment,
        )
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

"""A real server as its user sees it: a command, its output, its processes, and signals to them.

Owns the processes that it started and the text that they printed. Waiting is always for something that was
said or has ended, with a limit that only a defect reaches. ``kill`` and ``stop`` name single processes by
what the server itself says of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from mini_flink.asking import UnavailableError, query

ROOT = Path(__file__).parents[2]
JOBS = Path(__file__).parent / "jobs"
NO_PAGE = {"MINI_FLINK_ADMIN": "false"}
"""What is not looked at need not be started: tests of the page say otherwise."""
LIMIT_S = 60.0
"""How long anything may take before it counts as stuck; nothing is measured against it."""


class EndedError(AssertionError):
    """The server has ended, and was not to."""


class Server:
    """One data folder and the servers that run on it, one after another."""

    def __init__(
        self,
        folder: Path,
        job: str | Path,
        *options: str,
        args: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = folder / "data"
        self.job = str(job)
        self.args = tuple(args)
        self.options = options
        self.environment = dict(environment or {})
        self.clumsy = False
        self.output = ""
        self.url = ""
        self._changed = threading.Condition()
        self._seen: set[psutil.Process] = set()
        self._readers: list[threading.Thread] = []

    # --- starting and ending ----------------------------------------------------------------------------

    def start(self, *options: str, environment: Mapping[str, str] | None = None) -> Server:
        """Start it, and wait until it says that it is ready."""
        since = self.launch(*options, environment=environment)
        self.url = self.until(r"  Ready   (\S+)", since)[1]
        self.status()
        return self

    def launch(self, *options: str, environment: Mapping[str, str] | None = None) -> int:
        """Start it; where in the output it begins."""
        since = self.mark()
        where = ["--port", "0", "--data-dir", str(self.data_dir)]
        tail = ["--", *self.args] if self.args else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mini_flink", "serve", self.job, *where, *self.options, *options, *tail],
            cwd=ROOT,
            env={**os.environ, **NO_PAGE, **self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._seen.add(psutil.Process(self.process.pid))
        reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        reader.start()
        self._readers.append(reader)
        return since

    def refuses(self, since: int) -> bool:
        """Whether what was launched ends before it is ready."""
        try:
            self.url = self.until(r"  Ready   (\S+)", since)[1]
        except EndedError:
            return True
        self.status()
        return False

    def wait(self) -> int:
        """The exit code of the supervisor, and all that was printed."""
        code = self.process.wait(LIMIT_S)
        if code >= 0:
            self._readers[-1].join(LIMIT_S)
        return code

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.wait()

    def kill_all(self) -> None:
        """``kill -9`` of every process, the supervisor first so that it starts none again."""
        everyone = [process["pid"] for process in self.status()["processes"] if process["pid"]]
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()
        self.until_gone(everyone[1:])

    def clean_up(self) -> None:
        """Nothing that was ever seen of this server is left when this returns."""
        if not self._readers:
            return
        for process in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._seen = self._seen | set(process.children())
        for process in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(LIMIT_S)
        self.until_gone([process.pid for process in self._seen if process.is_running()])
        print(f"--- what the server on {self.data_dir} said ---\n{self.output}")

    def surprises(self) -> list[str]:
        """Lines that tell of a process that ended by itself, or of a mistake in the server."""
        unexpected = re.compile(r"died: (?!SIGKILL)|Traceback")
        return [line for line in self.output.splitlines() if unexpected.search(line)]

    # --- what it says -----------------------------------------------------------------------------------

    def _read(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    self.output += line.decode(errors="backslashreplace")
                    self._changed.notify_all()

    def mark(self) -> int:
        """How much was said so far."""
        return len(self.output)

    def until(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait until something that matches was said after ``since``."""
        search = re.compile(pattern).search
        found: list[re.Match[str] | None] = [None]

        def said() -> bool:
            found[0] = search(self.output, since)
            return found[0] is not None

        deadline = time.monotonic() + LIMIT_S
        with self._changed:
            while not said():
                if not self._readers[-1].is_alive():
                    raise EndedError(f"it ended without saying {pattern!r}")
                assert time.monotonic() < deadline, f"{pattern!r} was not said"
                self._changed.wait(0.2)
        assert found[0] is not None
        return found[0]

    # --- its processes ----------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What ``status`` says."""
        report = query(str(self.data_dir))
        for process in report["processes"]:
            if process["pid"]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._seen.add(psutil.Process(process["pid"]))
        return report

    def until_status(
        self, holds: Callable[[dict[str, Any]], Any], what: str, *, limit_s: float = LIMIT_S
    ) -> dict[str, Any]:
        """Ask for the status until it ``holds``."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                report = self.status()
            except UnavailableError:
                report = None
            if report is not None and holds(report):
                return report
            assert time.monotonic() < deadline, f"{what} never came about: {report}"
            time.sleep(0.05)

    def of(self, role: str, index: int = 0) -> dict[str, Any]:
        """One process in the status."""
        for process in self.status()["processes"]:
            if (process["role"], process["index"]) == (role, index):
                found: dict[str, Any] = process
                return found
        raise LookupError(f"no {role} {index}")

    def pid(self, role: str, index: int = 0) -> int:
        """The id of a process that runs."""
        report = self.until_status(
            lambda status: any(
                (each["role"], each["index"]) == (role, index) and each["pid"] for each in status["processes"]
            ),
            f"{role} {index}",
        )
        return next(
            int(each["pid"]) for each in report["processes"] if (each["role"], each["index"]) == (role, index)
        )

    def send(self, number: signal.Signals, role: str, index: int = 0) -> int:
        """Send a signal to one process; its id."""
        pid = self.pid(role, index)
        os.kill(pid, number)
        return pid

    def kill(self, role: str, index: int = 0) -> int:
        """``kill -9`` one process; where in the output that was."""
        since = self.mark()
        self.send(signal.SIGKILL, role, index)
        return since

    def until_back(self, role: str, index: int, since: int) -> None:
        """Wait until a process that has died after ``since`` serves again."""
        self.until(rf"  {role} {index} is back ", since)

    def total(self, counter: str, role: str = "") -> int:
        """A counter, summed over the processes of a role, or all."""
        return sum(
            process["counters"].get(counter, 0)
            for process in self.status()["processes"]
            if role in ("", process["role"])
        )

    def until_gone(self, pids: Sequence[int]) -> None:
        """Wait for the end of processes that are not our children."""
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                assert select.select([descriptor], [], [], LIMIT_S)[0], f"process {pid} does not end"
            finally:
                os.close(descriptor)

"""What a second person does while a server runs: commands, as subprocesses; and crash points, one by one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from mini_flink.faults import ANY
from tests.e2e.server import LIMIT_S, ROOT, Server


class Ended(NamedTuple):
    """What became of a command."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """What a command that was given ``--json`` has printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Running:
    """A command that goes on beside the test. Run in the folder of the tests, on ``server``'s data folder."""

    def __init__(
        self, server: Server, name: str, *words: str, args: tuple[str, ...] = (), stdin: int | None = None
    ) -> None:
        self._said = ""
        command = [*name.split(), *words, "--data-dir", str(server.data_dir)]
        tail = ["--", *args] if args else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mini_flink", *command, *tail],
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until_said(self, text: str) -> None:
        """Wait until it has said a line with ``text`` on stderr."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said += line
            if text in line:
                return
        raise AssertionError(f"it ended without saying {text!r}: {self._said}")

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.send(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Somebody, or a terminal that closes, ends it."""
        self._process.send_signal(number)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> Ended:
        """Wait for its end."""
        try:
            out, err = self._process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        err = self._said + err
        print(out, err, sep="")
        return Ended(self._process.returncode, out, err)


def run(server: Server, name: str, *words: str, args: tuple[str, ...] = ()) -> Ended:
    """Give a command and wait for its end."""
    return Running(server, name, *words, args=args).wait()


class Points:
    """Crash points of a server, none of which kills before it is armed; then it does once.

    A point that has fired leaves a file, and only one without kills: so all are fired to begin with.
    """

    def __init__(self, folder: Path, *points: str) -> None:
        self._folder = folder
        self._points = points
        folder.mkdir()
        for point in points:
            self._file(point).touch()

    @property
    def environment(self) -> dict[str, str]:
        """What the server is to be started with."""
        points = ",".join(point if ":" in point else f"{point}:*" for point in self._points)
        return {"MINI_FLINK_CRASH": points, "MINI_FLINK_CRASH_ONCE_DIR": os.fspath(self._folder)}

    def arm(self, point: str) -> None:
        """The next process that comes there is killed."""
        self._file(point).unlink()

    def fired(self, point: str) -> bool:
        """Whether it has killed somebody since it was armed."""
        return self._file(point).exists()

    def _file(self, point: str) -> Path:
        name, _, rest = point.partition("@")
        where, _, count = rest.partition(":")
        return self._folder / f"{name}-{where}-{count or ANY}"


def children(server: Server) -> dict[int, str]:
    """The processes that a server has now, by their ids, with their titles."""
    found = {}
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found[child.pid] = " ".join(child.cmdline())
    return found


def kill_everything(server: Server) -> None:
    """``kill -9`` of all processes, also those that a status would not tell of; the supervisor first."""
    everyone = children(server)
    server.process.kill()
    for pid in everyone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.wait()
    server.until_gone(list(everyone))

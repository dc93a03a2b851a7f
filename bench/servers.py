"""What is measured: how each server is started, found, asked and stopped.

Every server runs in its own session, and only processes started here are ever signalled.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.http import BadReply, post_all

START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Kind:
    """A server to be measured: its name in tables, its load, and how it is started."""

    name: str
    workload: str
    module: str
    options: tuple[str, ...] = ()
    is_mini_flink: bool = True

    @property
    def counts(self) -> bool:
        """Whether its replies are totals that must add up."""
        return self.workload == "total"


KINDS = (
    Kind("baseline", "total", "bench.baseline:app", is_mini_flink=False),
    Kind("ceiling", "echo", "bench.ceiling:app", is_mini_flink=False),
    Kind("event_service", "event", "mini_flink.examples.event_service"),
    Kind("running_total process", "total", "mini_flink.examples.running_total", ("--durability", "process")),
    Kind("running_total disk", "total", "mini_flink.examples.running_total", ("--durability", "disk")),
    Kind("risk_engine", "payment", "mini_flink.examples.risk_engine"),
)

# One request of each workload, to see whether the server answers.
PROBES: dict[str, tuple[str, Any]] = {
    "total": ("/total", {"key": "probe", "amount": 0}),
    "echo": ("/echo", {"key": "probe", "amount": 0}),
    "event": ("/event", {"request": "probe"}),
    "payment": (
        "/event",
        {
            "application": "probe",
            "timestamp": 1,
            "event_type": "probe",
            "pay_account": "probe",
            "rcv_account": "probe",
            "amount": 0,
        },
    ),
}


class ServerFailed(Exception):
    """The server did not start; the message holds what it said."""


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    kind: Kind
    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    start_seconds: float

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"


@contextmanager
def running(
    kind: Kind, extra_options: tuple[str, ...] = (), environment: Mapping[str, str] = {}
) -> Iterator[Server]:
    """A server on a fresh folder, from its start to its end."""
    with folder_for(kind) as folder, serving(kind, folder, extra_options, environment) as server:
        yield server


@contextmanager
def folder_for(kind: Kind) -> Iterator[Path]:
    """A fresh folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{kind.workload}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(
    kind: Kind, folder: Path, extra_options: tuple[str, ...] = (), environment: Mapping[str, str] = {}
) -> Iterator[Server]:
    """A server on ``folder``, from its start to its end."""
    began = time.monotonic()
    if kind.is_mini_flink:
        process, port = _start_mini_flink(kind, folder, extra_options, environment)
    else:
        process, port = _start_uvicorn(kind, folder)
    try:
        _wait_for_reply(process, kind, port, folder, began)
        yield Server(kind, process, folder, port, time.monotonic() - began)
    finally:
        _stop(process)


def _start_uvicorn(kind: Kind, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    return _spawn(["uvicorn", kind.module, *options, "--log-level", "warning"], folder), port


def _start_mini_flink(
    kind: Kind, folder: Path, extra_options: tuple[str, ...], environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    data_dir = folder / "data"
    options = ["--port", "0", "--data-dir", str(data_dir), *kind.options, *extra_options]
    process = _spawn(["mini_flink", "serve", kind.module, *options], folder, environment)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return process, int(json.loads((data_dir / "run.json").read_text())["port"])
        except (OSError, ValueError, KeyError):
            time.sleep(POLL_SECONDS)
    _stop(process)
    raise ServerFailed(f"{kind.name} told no port; it said:\n{log_of(folder)}")


def _spawn(
    arguments: list[str], folder: Path, environment: Mapping[str, str] = {}
) -> subprocess.Popen[bytes]:
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
            env={"MINI_FLINK_ADMIN": "false", **os.environ, **environment},
        )


def _wait_for_reply(
    process: subprocess.Popen[bytes], kind: Kind, port: int, folder: Path, began: float
) -> None:
    error: BaseException | None = None
    while time.monotonic() < began + START_SECONDS and process.poll() is None:
        try:
            probe(kind, port)
            return
        except (OSError, EOFError, BadReply, BaseExceptionGroup) as failed:
            error = failed
            time.sleep(POLL_SECONDS)
    raise ServerFailed(f"{kind.name} gave no reply ({error!r}); it said:\n{log_of(folder)}")


def log_of(folder: Path) -> str:
    """The end of what the server wrote."""
    return (folder / "log").read_text(errors="replace")[-4000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the server to end, then ends what is left of its session."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"server {process.pid} did not stop in {STOP_SECONDS} s: killed", file=sys.stderr)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def probe(kind: Kind, port: int) -> None:
    """One request of the kind's workload; raises if it is not answered with 200."""
    path, value = PROBES[kind.workload]
    asyncio.run(post_all(port, path, [value], connections=1))

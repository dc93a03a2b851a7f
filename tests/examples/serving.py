"""A served example, from outside: start it, post to it, kill its workers, stop it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.http import post_all

START_SECONDS = 30.0


@dataclass(frozen=True)
class Served:
    """A running server and where its data is."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path

    def post(self, path: str, value: Any) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{self.port}{path}", json=value, timeout=20)

    async def post_chains(self, path: str, chains: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """The decoded replies; each chain is sent one by one, all chains at once. Any other status raises."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(post_all(self.port, path, chain, connections=1)) for chain in chains]
        return [task.result() for task in tasks]

    def worker_pids(self) -> list[int]:
        status = subprocess.run(
            [sys.executable, "-m", "mini_flink", "status", "--json", "--data-dir", str(self.data_dir)],
            capture_output=True,
            check=False,
        )
        processes = json.loads(status.stdout)["processes"]
        return [one["pid"] for one in processes if one["role"] == "worker" and one["pid"]]

    async def kill_workers(self, every_seconds: float) -> int:
        """Kills one worker after another until cancelled; returns never."""
        while True:
            for pid in await asyncio.to_thread(self.worker_pids):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                await asyncio.sleep(every_seconds)


@contextmanager
def served(job: str, folder: Path, *options: str) -> Iterator[Served]:
    """``python -m mini_flink serve JOB`` on a free port, stopped in the end, with exit code 0."""
    data_dir, log_path = folder / "data", folder / "log"
    command = [sys.executable, "-m", "mini_flink", "serve", *([job] if job else [])]
    with open(log_path, "ab") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--data-dir", str(data_dir), *options],
            env={**os.environ, "MINI_FLINK_ADMIN": "false"},
            stdout=log,
            stderr=log,
        )
    try:
        yield Served(process, _port(process, data_dir, log_path), data_dir)
        process.terminate()
        assert process.wait(20) == 0, log_path.read_text()
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], data_dir: Path, log_path: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            port = int(json.loads((data_dir / "run.json").read_text())["port"])
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return port
        except (OSError, ValueError, KeyError, httpx.TransportError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"the server did not start; it said: {log_path.read_text()}")

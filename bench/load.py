"""The load: runs of wrk with replies checked, and the proof that totals add up."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.http import post_all
from bench.servers import Server

KEYS = 10_000
_SCRIPT = Path(__file__).with_name("load.lua")
_CHECK_CONNECTIONS = 32


@dataclass(frozen=True)
class Load:
    """What one run of wrk measured."""

    connections: int
    good: int
    wrong_status: int
    wrong_body: int
    example: str
    socket_errors: int
    timeouts: int
    seconds: float
    p50_us: int
    p99_us: int
    max_us: int

    @property
    def rate(self) -> float:
        """Checked replies per second."""
        return self.good / self.seconds

    @property
    def errors(self) -> int:
        return self.wrong_status + self.wrong_body + self.socket_errors + self.timeouts

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": self.rate, "errors": self.errors}


def run(server: Server, connections: int, seconds: float, seed: int) -> Load:
    """One run; wrk takes whole seconds only."""
    arguments = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    arguments += ["-s", str(_SCRIPT), f"http://127.0.0.1:{server.port}"]
    arguments += ["--", server.kind.workload, str(KEYS), str(seed)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return Load(connections=connections, **json.loads(done.stdout.splitlines()[-1]))


def check_totals(server: Server, loads: list[Load]) -> str:
    """Asks for every total; empty if their sum is that of the good replies, else what is wrong.

    wrk cuts its connections at the end of a run: what was under way then may have been counted or not.
    """
    questions = [{"key": f"k{number}", "amount": 0} for number in range(KEYS)]
    replies = asyncio.run(post_all(server.port, "/total", questions, _CHECK_CONNECTIONS))
    total = sum(reply["total"] for reply in replies)
    good = sum(load.good for load in loads)
    under_way = sum(load.connections for load in loads)
    if good <= total <= good + under_way:
        return ""
    return f"totals add up to {total:,}, but {good:,} requests were answered (and {under_way} cut at most)"

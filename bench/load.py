"""The load: runs of wrk with replies checked, and the proof that totals add up."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.http import post_all
from bench.servers import Server

KEYS = 10_000
_SCRIPT = Path(__file__).with_name("load.lua")
_CHECK_CONNECTIONS = 32
_LONGEST_SECONDS = 600
_T = TypeVar("_T")


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
    arguments = _wrk(server, connections, max(1, round(seconds)), KEYS, seed)
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return _load(connections, done.stdout)


def run_while(
    server: Server, connections: int, keys: int, seed: int, work: Callable[[], _T]
) -> tuple[_T, Load]:
    """A run that lasts as long as ``work``, which is done meanwhile."""
    arguments = _wrk(server, connections, _LONGEST_SECONDS, keys, seed)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as wrk:
        try:
            result = work()
        finally:
            wrk.send_signal(signal.SIGINT)  # the end of the run: it says what it has measured
            output = wrk.communicate()[0]
    return result, _load(connections, output)


def _wrk(server: Server, connections: int, seconds: int, keys: int, seed: int) -> list[str]:
    arguments = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    arguments += ["-s", str(_SCRIPT), f"http://127.0.0.1:{server.port}"]
    return [*arguments, "--", server.kind.workload, str(keys), str(seed)]


def _load(connections: int, output: str) -> Load:
    return Load(connections=connections, **json.loads(output.splitlines()[-1]))


def check_totals(server: Server, loads: list[Load]) -> str:
    """Asks for every total; empty if their sum is that of the good replies, else what is wrong.

    wrk cuts its connections at the end of a run: what was under way then may have been counted or not.
    """
    questions = [{"key": f"k{number}", "amount": 0} for number in range(KEYS)]
    replies = asyncio.run(post_all(server.port, "/total", questions, _CHECK_CONNECTIONS))
    return "; ".join(judge(sum(reply["total"] for reply in replies), loads))


def judge(total: int, loads: Sequence[Load]) -> list[str]:
    """What is wrong with the loads, or with what was counted for them."""
    wrong = [f"{one.errors} errors: {one.example}" for one in loads if one.errors]
    good = sum(load.good for load in loads)
    under_way = sum(load.connections for load in loads)
    if not good <= total <= good + under_way:
        wrong.append(
            f"totals add up to {total:,}, but {good:,} requests were answered (and {under_way} cut at most)"
        )
    return wrong

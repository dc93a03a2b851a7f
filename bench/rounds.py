"""The plan of a run: each round measures every server once, in turn, every other round in reverse order.

Servers are compared within a round only: what else the machine does changes from minute to minute.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from bench import load, probes
from bench.http import BadReply
from bench.servers import Kind, Server, ServerFailed, log_of, running

_WARM_UP_SECONDS = 1
# What wrk, the checks and the probes raise when the server died or answers nonsense.
_SERVER_IS_GONE = (subprocess.SubprocessError, OSError, EOFError, BadReply, ExceptionGroup, psutil.Error)


@dataclass
class Measured:
    """What one server did in one round."""

    kind: Kind
    loads: list[load.Load] = field(default_factory=list)
    start_seconds: float | None = None
    memory_mb: float | None = None
    idle_cpu_percent: float | None = None
    restart_ms: float | None = None
    problems: list[str] = field(default_factory=list)


Round = dict[str, Measured]


def run_rounds(
    kinds: Sequence[Kind],
    rounds: int,
    seconds: float,
    connections: Sequence[int],
    serve_options: tuple[str, ...],
) -> list[Round]:
    """Everything; a server that fails is reported and the others go on."""
    results: list[Round] = []
    for number in range(rounds):
        order = kinds if number % 2 == 0 else list(reversed(kinds))
        results.append({})
        for kind in order:
            _say(f"round {number + 1} of {rounds}: {kind.name} …")
            measured = results[-1][kind.name] = Measured(kind)
            _measure_started(measured, serve_options, seconds, connections, seed=number)
            for problem in measured.problems:
                _say(f"  {problem}")
    return results


def _measure_started(
    measured: Measured, serve_options: tuple[str, ...], seconds: float, connections: Sequence[int], seed: int
) -> None:
    try:
        with running(measured.kind, serve_options) as server:
            try:
                _measure(server, measured, seconds, connections, seed)
            except _SERVER_IS_GONE as failed:
                measured.problems.append(f"{failed!r}; the server said:\n{log_of(server.folder)}")
    except ServerFailed as failed:
        measured.problems.append(str(failed))


def _measure(
    server: Server, measured: Measured, seconds: float, connections: Sequence[int], seed: int
) -> None:
    measured.start_seconds = server.start_seconds
    loads = [load.run(server, max(connections), _WARM_UP_SECONDS, seed=time.time_ns() % 1_000_000)]
    for count in connections:
        loads.append(load.run(server, count, seconds, seed=seed * 1000 + count))
        measured.loads.append(loads[-1])
    measured.memory_mb = probes.memory_mb(server)
    measured.problems += [
        f"{one.errors} errors at {one.connections}: {one.example}" for one in loads if one.errors
    ]
    if server.kind.counts and (problem := load.check_totals(server, loads)):
        measured.problems.append(problem)
    if server.kind.is_mini_flink:
        measured.idle_cpu_percent = probes.idle_cpu_percent(server)
        measured.restart_ms = probes.restart_ms(server)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""The results: medians and ratios as a table for people, everything as JSON for later."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.load import Load
from bench.rounds import Measured, Round

BASELINE = "baseline"
_PACKAGES = ("httptools", "lmdb", "msgpack", "msgspec", "pyzmq", "starlette", "uvicorn", "uvloop")


def table(rounds: Sequence[Round]) -> str:
    """The loads with their ratios to the baseline of the same round, then what else was measured."""
    lines = [
        f"{'':24}{'conn.':>6}{'replies/s':>11}{'x baseline':>12}{'p50 ms':>9}{'x baseline':>12}{'p99 ms':>9}"
        f"{'errors':>8}"
    ]
    names = list(rounds[0])
    lines += [_load_line(rounds, name, number) for name in names for number in _connections(rounds, name)]
    lines += ["", f"{'':24}{'start s':>9}{'PSS MB':>9}{'idle CPU %':>12}{'restart ms':>12}"]
    lines += [_other_line(rounds, name) for name in names]
    return "\n".join(lines + problems(rounds))


def problems(rounds: Sequence[Round]) -> list[str]:
    """One line for each server that failed, answered wrongly or lost count."""
    return [
        f"PROBLEM in round {number}: {name}: {problem}"
        for number, one in enumerate(rounds, 1)
        for name, measured in one.items()
        for problem in measured.problems
    ]


def as_json(rounds: Sequence[Round], settings: dict[str, Any]) -> dict[str, Any]:
    """All that was measured, with the machine and the versions."""
    return {
        "settings": settings,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in _PACKAGES},
        },
        "medians": [
            _medians(rounds, name, connections)
            for name in rounds[0]
            for connections in _connections(rounds, name)
        ],
        "rounds": [{name: _measured_json(measured) for name, measured in one.items()} for one in rounds],
    }


def _measured_json(measured: Measured) -> dict[str, Any]:
    return {
        "loads": [load.as_json() for load in measured.loads],
        "start_seconds": measured.start_seconds,
        "memory_mb": measured.memory_mb,
        "idle_cpu_percent": measured.idle_cpu_percent,
        "restart_ms": measured.restart_ms,
        "problems": measured.problems,
    }


def _connections(rounds: Sequence[Round], name: str) -> list[int]:
    return sorted({load.connections for one in rounds for load in one[name].loads})


def _medians(rounds: Sequence[Round], name: str, connections: int) -> dict[str, Any]:
    loads = [load for one in rounds if (load := _load(one, name, connections))]
    return {
        "name": name,
        "connections": connections,
        "rate": _median(load.rate for load in loads),
        "rate_ratio": _ratio(rounds, name, connections, lambda load: load.rate),
        "p50_ms": _median(load.p50_us / 1000 for load in loads),
        "p50_ratio": _ratio(rounds, name, connections, lambda load: load.p50_us),
        "p99_ms": _median(load.p99_us / 1000 for load in loads),
        "errors": sum(load.errors for load in loads),
    }


def _load(one: Round, name: str, connections: int) -> Load | None:
    measured = one.get(name)
    return (
        next((load for load in measured.loads if load.connections == connections), None) if measured else None
    )


def _ratio(
    rounds: Sequence[Round], name: str, connections: int, read: Callable[[Load], float]
) -> float | None:
    """The median over the rounds of the ratio to the same round's baseline."""
    pairs = ((_load(one, name, connections), _load(one, BASELINE, connections)) for one in rounds)
    return _median(read(load) / read(base) for load, base in pairs if load and base and read(base))


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _load_line(rounds: Sequence[Round], name: str, connections: int) -> str:
    medians = _medians(rounds, name, connections)
    return (
        f"{name:24}{connections:>6}"
        f"{_cell(medians['rate'], 11, ',.0f')}{_cell(medians['rate_ratio'], 12, '.2f')}"
        f"{_cell(medians['p50_ms'], 9, '.2f')}{_cell(medians['p50_ratio'], 12, '.2f')}"
        f"{_cell(medians['p99_ms'], 9, '.2f')}{medians['errors']:>8}"
    )


def _other_line(rounds: Sequence[Round], name: str) -> str:
    measured = [one[name] for one in rounds]
    return (
        f"{name:24}{_cell(_median(one.start_seconds for one in measured), 9, '.2f')}"
        f"{_cell(_median(one.memory_mb for one in measured), 9, '.0f')}"
        f"{_cell(_median(one.idle_cpu_percent for one in measured), 12, '.1f')}"
        f"{_cell(_median(one.restart_ms for one in measured), 12, '.0f')}"
    )


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

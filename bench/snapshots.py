"""``python -m bench snapshots``: what a snapshot costs those who are served meanwhile, and what it writes.

Windows with a savepoint and windows without one alternate on one server, which counts in ``heavy_total``.
Then periodic snapshots: one of everything, and the next after 1 % of the keys have changed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any

from bench import load, probes
from bench.http import post_all
from bench.preloaded import KIND, fill, keys_in, total_of
from bench.servers import Server, folder_for, serving
from mini_flink.asking import ask
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.location import open_store
from mini_flink.snapshots.manifest import Manifest

_QUIET_SECONDS = 4.0
_SETTLE_SECONDS = 2.0
_INTERVAL_SECONDS = 20
_CHANGED_SHARE = 100
_CONNECTIONS = 64
_WAIT_SECONDS = 300.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench snapshots", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000], help="MB of state (100 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of windows; medians are over them (3)")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="further options, last")
    options = parser.parse_args(arguments)
    problems = []
    for megabytes in options.sizes:
        problems += _while_serving(megabytes, options.rounds, ("--workers", "1", *options.serve))
    for megabytes in options.sizes:
        _incremental(megabytes, ("--workers", "1", *options.serve))
    print("\n".join(problems))
    return 1 if problems else 0


# --- beside the load -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Window:
    """A load with what the server's processes spent on it. ``taken``: the savepoint, if one was taken."""

    load: load.Load
    cpu_us: float
    taken: dict[str, Any] | None


def _while_serving(megabytes: int, rounds: int, options: tuple[str, ...]) -> list[str]:
    print(f"{megabytes} MB, {_CONNECTIONS} connections; ratios are to the windows before and after")
    head = f"{'replies/s':>11}{'ratio':>7}{'p99 ms':>8}{'ratio':>7}{'CPU us/reply':>14}{'ratio':>7}"
    print(f"{'':10}{head}{'max ms':>8}{'s':>7}{'MB':>8}")
    with folder_for(KIND) as folder:
        quiet = (*options, "--snapshot-interval-s", "0")
        fill(folder, megabytes, quiet)
        with serving(KIND, folder, quiet) as server:
            load.run(server, _CONNECTIONS, _QUIET_SECONDS, seed=0)
            windows = _windows(server, rounds)
    triples = list(zip(windows[:-1:2], windows[1::2], windows[2::2], strict=True))
    for before, busy, after in triples:
        _print("without", before, None)
        _print("savepoint", busy, _ratios(before, busy, after))
    _print("without", windows[-1], None)
    rate, p99, cpu = (statistics.median(column) for column in zip(*starmap(_ratios, triples), strict=True))
    print(f"{'median':21}{rate:>7.2f}{'':8}{p99:>7.2f}{'':14}{cpu:>7.2f}\n", flush=True)
    return [f"{one.load.errors} errors: {one.load.example}" for one in windows if one.load.errors]


def _windows(server: Server, rounds: int) -> list[_Window]:
    """Without a savepoint, with one, without, …; those without last about half as long as those with."""
    windows, seconds = [], _QUIET_SECONDS
    for number in range(rounds):
        windows.append(_window(server, 2 * number, partial(time.sleep, seconds)))
        windows.append(_window(server, 2 * number + 1, partial(_savepoint, server)))
        seconds = max(seconds, windows[-1].load.seconds / 2)
    windows.append(_window(server, 2 * rounds, partial(time.sleep, seconds)))
    return windows


def _window(server: Server, seed: int, work: Callable[[], dict[str, Any] | None]) -> _Window:
    time.sleep(_SETTLE_SECONDS)
    before = probes.cpu_seconds(server)
    taken, one = load.run_while(server, _CONNECTIONS, load.KEYS, seed, work)
    return _Window(one, (probes.cpu_seconds(server) - before) / one.good * 1e6, taken)


def _savepoint(server: Server) -> dict[str, Any]:
    taken = ask(str(server.data_dir), "savepoint", {"location": None})
    shutil.rmtree(Path(taken["location"]) / taken["id"])
    return taken


def _ratios(before: _Window, busy: _Window, after: _Window) -> tuple[float, float, float]:
    """Of replies per second, p99 and CPU, to those of the windows beside."""
    return (
        2 * busy.load.rate / (before.load.rate + after.load.rate),
        2 * busy.load.p99_us / (before.load.p99_us + after.load.p99_us),
        2 * busy.cpu_us / (before.cpu_us + after.cpu_us),
    )


def _print(name: str, window: _Window, ratios: tuple[float, float, float] | None) -> None:
    one, taken = window.load, window.taken
    rate, p99, cpu = (f"{ratio:7.2f}" for ratio in ratios) if ratios else (" " * 7,) * 3
    size = f"{taken['duration_ms'] / 1000:>7.1f}{taken['total_bytes'] / 1e6:>8.1f}" if taken else ""
    print(
        f"{name:10}{one.rate:>11,.0f}{rate}{one.p99_us / 1000:>8.2f}{p99}"
        f"{window.cpu_us:>14.1f}{cpu}{one.max_us / 1000:>8.1f}{size}"
    )


# --- what has changed ----------------------------------------------------------------------------------


def _incremental(megabytes: int, options: tuple[str, ...]) -> None:
    """A base, then 1 % of the keys, spread evenly, then what the snapshots after them write."""
    options = (*options, "--snapshot-interval-s", str(_INTERVAL_SECONDS), "--snapshots-kept", "100")
    keys = range(0, keys_in(megabytes), _CHANGED_SHARE)
    with folder_for(KIND) as folder:
        fill(folder, megabytes, options)
        with serving(KIND, folder, options) as server:
            before = _snapshots_until(server, _now_ms())
            questions = [{"key": f"k{number}", "amount": 1} for number in keys]
            asyncio.run(post_all(server.port, "/total", questions, _CONNECTIONS))
            after = _snapshots_until(server, _now_ms())[len(before) :]
        if (total := total_of(server.data_dir)) != len(keys):
            raise RuntimeError(f"{len(keys)} were counted, {total} are there")
    for name, snapshots in (("base", before[:1]), ("1 % changed", after)):
        written = sum(one.new_bytes for one in snapshots) / 1e6
        seconds = sum(one.duration_ms for one in snapshots) / 1000
        print(f"{megabytes} MB, {name:12} {written:10.2f} MB written in {seconds:6.2f} s", flush=True)


def _snapshots_until(server: Server, begun_ms: int) -> list[Manifest]:
    """All snapshots, once there is one that has begun since."""
    catalog = Catalog(open_store(str(server.data_dir / "snapshots")))
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        whole = [entry for entry in catalog.entries() if isinstance(entry, Manifest)]
        if whole and whole[-1].created_ms - whole[-1].duration_ms > begun_ms:
            return whole
        time.sleep(0.2)
    raise RuntimeError(f"no snapshot in {_WAIT_SECONDS} s")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

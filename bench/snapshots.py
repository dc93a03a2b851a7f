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
from pathlib import Path
from typing import Any

from bench import load
from bench.http import post_all
from bench.preloaded import KIND, fill, keys_in, total_of
from bench.servers import Server, folder_for, serving
from mini_flink.runners.asking import ask, query

_QUIET_SECONDS = 4.0
_SETTLE_SECONDS = 2.0
_INTERVAL_SECONDS = 60
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


def _while_serving(megabytes: int, rounds: int, options: tuple[str, ...]) -> list[str]:
    print(f"{megabytes} MB, {_CONNECTIONS} connections; ratios are to the window before, without a savepoint")
    print(
        f"{'':10}{'replies/s':>11}{'ratio':>8}{'p99 ms':>9}{'ratio':>8}{'max ms':>9}{'seconds':>9}{'MB':>9}"
    )
    with folder_for(KIND) as folder:
        quiet = (*options, "--snapshot-interval-s", "0")
        fill(folder, megabytes, quiet)
        with serving(KIND, folder, quiet) as server:
            load.run(server, _CONNECTIONS, _QUIET_SECONDS, seed=0)
            pairs = [_pair(server, number) for number in range(rounds)]
    rates = statistics.median(busy.rate / quiet.rate for quiet, busy in pairs)
    p99s = statistics.median(busy.p99_us / quiet.p99_us for quiet, busy in pairs)
    print(f"{'median':10}{'':11}{rates:>8.2f}{'':9}{p99s:>8.2f}\n", flush=True)
    return [f"{one.errors} errors: {one.example}" for pair in pairs for one in pair if one.errors]


def _pair(server: Server, number: int) -> tuple[load.Load, load.Load]:
    time.sleep(_SETTLE_SECONDS)
    _, quiet = _run(server, 2 * number, lambda: time.sleep(_QUIET_SECONDS))
    time.sleep(_SETTLE_SECONDS)
    taken, busy = _run(
        server, 2 * number + 1, lambda: ask(str(server.data_dir), "savepoint", {"location": None})
    )
    print(
        f"{'without':10}{quiet.rate:>11,.0f}{'':8}{quiet.p99_us / 1000:>9.2f}{'':8}"
        f"{quiet.max_us / 1000:>9.1f}"
    )
    print(
        f"{'savepoint':10}{busy.rate:>11,.0f}{busy.rate / quiet.rate:>8.2f}{busy.p99_us / 1000:>9.2f}"
        f"{busy.p99_us / quiet.p99_us:>8.2f}{busy.max_us / 1000:>9.1f}{taken['duration_ms'] / 1000:>9.1f}"
        f"{taken['total_bytes'] / 1e6:>9.1f}",
        flush=True,
    )
    shutil.rmtree(Path(taken["location"]) / taken["id"])
    return quiet, busy


def _run(server: Server, seed: int, work: Callable[[], Any]) -> tuple[Any, load.Load]:
    return load.run_while(server, _CONNECTIONS, load.KEYS, seed, work)


# --- what has changed ----------------------------------------------------------------------------------


def _incremental(megabytes: int, options: tuple[str, ...]) -> None:
    """A base, then 1 % of the keys, spread evenly, then what the next snapshot writes."""
    options = (*options, "--snapshot-interval-s", str(_INTERVAL_SECONDS))
    keys = range(0, keys_in(megabytes), _CHANGED_SHARE)
    with folder_for(KIND) as folder:
        fill(folder, megabytes, options)
        with serving(KIND, folder, options) as server:
            base = _completed(server, 1)
            questions = [{"key": f"k{number}", "amount": 1} for number in keys]
            asyncio.run(post_all(server.port, "/total", questions, _CONNECTIONS))
            delta = _completed(server, 2)
        if (total := total_of(server.data_dir)) != len(keys):
            raise RuntimeError(f"{len(keys)} were counted, {total} are there")
    for name, snapshot in (("base", base), ("1 % changed", delta)):
        written, seconds = snapshot["new_bytes"] / 1e6, snapshot["duration_ms"] / 1000
        print(f"{megabytes} MB, {name:12} {written:10.2f} MB written in {seconds:6.2f} s", flush=True)


def _completed(server: Server, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        facts = query(str(server.data_dir))["snapshots"]
        if facts["completed"] >= number:
            last: dict[str, Any] = facts["last"]
            return last
        time.sleep(0.2)
    raise RuntimeError(f"no snapshot in {_WAIT_SECONDS} s: {facts}")

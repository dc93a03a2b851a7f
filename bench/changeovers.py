"""``python -m bench rescale`` and ``python -m bench upgrade``: how long clients wait, by size of state.

A server that counts in ``heavy_total`` is rescaled (or upgraded to the same code) while connections ask for
random keys of all that it has. No request may fail, and all must have counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

from bench import load
from bench.preloaded import KIND, fill, keys_in, total_of
from bench.servers import Server, folder_for, serving
from mini_flink.asking import ask
from mini_flink.jobs import JobTarget

_BEFORE_SECONDS = 1.0
_AFTER_SECONDS = 1.0
_WORKERS = (1, 2)


def main(kind: str, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m bench {kind}", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10, 100, 1000], help="MB of state (10 100 1000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="changes of each size (3)")
    parser.add_argument("--connections", type=int, default=16, help="connections that ask meanwhile (16)")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="further options, last")
    options = parser.parse_args(arguments)
    problems = []
    for megabytes in options.sizes:
        problems += _measure(kind, megabytes, options.rounds, options.connections, tuple(options.serve))
    print("\n".join(problems))
    return 1 if problems else 0


def _measure(kind: str, megabytes: int, rounds: int, connections: int, further: tuple[str, ...]) -> list[str]:
    """Some changes, one after another, on one server: from 1 worker to 2, back, and so on."""
    print(f"{kind} with {megabytes} MB, {connections} connections")
    options = ("--workers", str(_WORKERS[0]), "--snapshot-interval-s", "0", *further)
    loads, pauses = [], []
    with folder_for(KIND) as folder:
        fill(folder, megabytes, options)
        with serving(KIND, folder, options) as server:
            for number in range(rounds):
                workers = _WORKERS[(number + 1) % 2]
                changed, one = load.run_while(
                    server,
                    connections,
                    keys_in(megabytes),
                    number,
                    lambda workers=workers: _change(server, kind, workers),
                )
                _print(changed, one)
                loads.append(one)
                pauses.append(changed["pause_ms"])
        counted = total_of(server.data_dir)
    print(f"median pause {statistics.median(pauses):.0f} ms\n", flush=True)
    return load.judge(counted, loads)


def _change(server: Server, kind: str, workers: int) -> dict[str, Any]:
    time.sleep(_BEFORE_SECONDS)
    question: dict[str, Any] = {"workers": workers}
    if kind == "upgrade":
        question = {"job": JobTarget.parse(KIND.module).as_dict()}
    changed = ask(str(server.data_dir), kind, question)
    time.sleep(_AFTER_SECONDS)
    return changed


def _print(changed: dict[str, Any], one: load.Load) -> None:
    phases = " ".join(f"{phase} {ms}" for phase, ms in changed["phases_ms"].items())
    print(
        f"-> {changed['workers']} workers: pause {changed['pause_ms']} ms, "
        f"longest request {one.max_us / 1000:.0f} ms, "
        f"{one.errors} failed of {one.good:,} ({one.rate:,.0f}/s, p99 {one.p99_us / 1000:.1f} ms); "
        f"{changed['duration_ms']} ms in all, {changed['copies']} copies: {phases}",
        flush=True,
    )

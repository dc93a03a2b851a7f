"""``python -m bench metrics``: the CPU time that metrics cost a request, from the gateway to the reply.

Two servers that differ only in that the other one measures nothing are asked in turn, for short times, in
pairs: what else the machine does meanwhile takes its part of time, and less of CPU time. Two reads of
the clock and an empty call per request, and an entry per record in the list of its batch, are in both. Then
the meters are called alone, as often as that many requests would call them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import load, probes
from bench.servers import Kind, Server, running
from mini_flink.config import Settings
from mini_flink.gateway.meter import RouteMeter
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.metrics import Registry
from mini_flink.runners.twins import TwinJob

_KIND = Kind("running_total", "total", "mini_flink.examples.running_total", ("--durability", "process"))
_ROOT = Path(__file__).parent.parent
_UNMETERED = {"PYTHONPATH": os.pathsep.join([str(_ROOT / "bench" / "unmetered"), str(_ROOT)])}
_WARM_UP_SECONDS = 3
_BATCH = 8
_CALLS = 400_000


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench metrics", description=__doc__, allow_abbrev=False)
    parser.add_argument("--pairs", type=int, default=20, help="pairs of runs; the median is over them (20)")
    parser.add_argument("--seconds", type=int, default=2, help="length of each run of wrk (2)")
    parser.add_argument("--connections", type=int, default=64, help="(64)")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="further options, last")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        metered = stack.enter_context(running(_KIND, options.serve))
        unmetered = stack.enter_context(running(_KIND, options.serve, _UNMETERED))
        for server in (metered, unmetered):
            load.run(server, options.connections, _WARM_UP_SECONDS, seed=0)
        pairs = [_pair(metered, unmetered, options, seed) for seed in range(1, options.pairs + 1)]
    ratios = sorted(one / other for one, other in pairs)
    low, middle, high = statistics.quantiles(ratios, n=4)
    with_us, without_us = (statistics.median(each) * 1e6 for each in zip(*pairs, strict=True))
    print(f"CPU of all processes per request: {with_us:.1f} us with metrics, {without_us:.1f} us without")
    print(f"ratio within a pair: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}, {len(pairs)} pairs")
    alone_us = _alone_us()
    part = alone_us / without_us
    print(f"the meters alone: {alone_us:.2f} us a request in batches of {_BATCH}, {part:.1%} of it")
    return 0


def _alone_us() -> float:
    """What gateway and worker spend on measuring a request that is one record, publishing left out."""
    route = RouteMeter(Registry(), "/total", lambda: None)
    graph = load_graph(JobTarget.parse(_KIND.module, directory=os.fspath(_ROOT)), quiet=True)
    job = TwinJob(graph, Settings(), 1, print)
    job.start()
    worker = job.workers[0].worker
    assert worker is not None
    [stage] = job.plan.stages
    meter, arrived = worker.meter, time.monotonic()
    began = time.process_time()
    for _ in range(_CALLS // _BATCH):
        ran = []
        for _ in range(_BATCH):
            route.answered(200, time.monotonic_ns())
            ran.append((stage, 0, arrived, arrived))
        meter.batch(arrived, ran)
        meter.committing(1, 1)
        meter.syncing()
        meter.committed()
        meter.slept(arrived)
    took = time.process_time() - began
    job.close()
    return took / _CALLS * 1e6


def _pair(metered: Server, unmetered: Server, options: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Seconds of CPU a request, with and without; which comes first is left to chance."""
    first = random.random() < 0.5
    order = (metered, unmetered) if first else (unmetered, metered)
    one, other = (_cpu_per_request(server, options, seed) for server in order)
    return (one, other) if first else (other, one)


def _cpu_per_request(server: Server, options: argparse.Namespace, seed: int) -> float:
    before = probes.cpu_seconds(server)
    done = load.run(server, options.connections, options.seconds, seed)
    return (probes.cpu_seconds(server) - before) / done.good

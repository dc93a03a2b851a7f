"""What is measured beside the load: memory, idle CPU, and how long a killed worker is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench.http import post_all
from bench.servers import PROBES, Server

# Enough different keys that every worker owns some.
_PROBE_KEYS = 32
# What the load left to be written to disk is written meanwhile.
_SETTLE_SECONDS = 2.0


def memory_mb(server: Server) -> float:
    """The proportional set size of all processes together, in MB (10**6 bytes)."""
    kilobytes = 0
    for process in _processes(server):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


def idle_cpu_percent(server: Server, seconds: float = 3.0) -> float:
    """CPU of all processes together while nothing is asked, in percent of one core."""
    time.sleep(_SETTLE_SECONDS)
    before = cpu_seconds(server)
    time.sleep(seconds)
    return (cpu_seconds(server) - before) / seconds * 100


def restart_ms(server: Server) -> float:
    """From ``kill -9`` of a worker to the last of the replies to requests for all workers, sent at once."""
    path, value = PROBES[server.kind.workload]
    requests = [{**value, "key": f"probe{number}"} for number in range(_PROBE_KEYS)]
    worker = _worker_pid(server)
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    asyncio.run(post_all(server.port, path, requests, connections=_PROBE_KEYS))
    return (time.monotonic() - began) * 1000


def _worker_pid(server: Server) -> int:
    status = subprocess.run(
        [sys.executable, "-m", "mini_flink", "status", "--json", "--data-dir", str(server.data_dir)],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    processes = json.loads(status.stdout)["processes"]
    return next(int(process["pid"]) for process in processes if process["role"] == "worker")


def _processes(server: Server) -> list[psutil.Process]:
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(server: Server) -> float:
    """The CPU time of all processes together since they began."""
    times = [process.cpu_times() for process in _processes(server)]
    return sum(used.user + used.system for used in times)

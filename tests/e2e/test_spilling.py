"""A stopped worker and far too much for it: memory stays bounded, the rest is on disk, and all arrives."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Load, post
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server

REQUESTS = 1024
RECORDS = 1000
KEYS = 64
MIB = 1 << 20
OVERLAY_BYTES = 2 * MIB
WINDOW_BYTES = 1 * MIB
RECORD_BYTES = 120
"""What one record takes at least, wherever it is."""

# A worker holds two layers (one being written, one filling up), each of the overlay's limit and the batch
# that went over it, and with its peer a window of the outbox beyond that, one in the transport, and one
# received and not processed. A record of 120 bytes takes three times as much in Python. Half of that again is
# for the allocator and for LMDB's list of dirty pages. The gateway holds its requests, which is less.
GROWTH_LIMIT_BYTES = 3 * (2 * (OVERLAY_BYTES + OVERLAY_BYTES // 2) + 3 * WINDOW_BYTES) * 3 // 2


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """More open files than usual, for this process and the server that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def anonymous_bytes(pid: int) -> int:
    """The memory of a process that is no page of a file: those of LMDB's map can always be taken back."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Anonymous: +(\d+) kB$", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class Memory:
    """How much each process has grown, at most."""

    def __init__(self, server: Server) -> None:
        self._pids = {f"{each['role']} {each['index']}": each["pid"] for each in server.status()["processes"]}
        self._before = {name: anonymous_bytes(pid) for name, pid in self._pids.items()}
        self.growth = dict.fromkeys(self._pids, 0)

    def look(self) -> None:
        for name, pid in self._pids.items():
            grown = anonymous_bytes(pid) - self._before[name]
            self.growth[name] = max(self.growth[name], grown)


def size_of(folder: Path) -> int:
    """What a folder takes on disk; LMDB's file is sparse."""
    return sum(os.stat(path).st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_what_a_stopped_worker_cannot_take_waits_on_disk(serve: Serve, many_descriptors: None) -> None:
    server = serve(
        JOBS / "spreading.py",
        *("--workers", "2", "--gateways", "1", "--hang-timeout-ms", "0", "--request-timeout-ms", "600000"),
        *("--pending-capacity", str(2 * REQUESTS)),
        *("--overlay-bytes", str(OVERLAY_BYTES), "--channel-window-bytes", str(WINDOW_BYTES)),
    ).start()
    memory = Memory(server)
    stopped = server.send(signal.SIGSTOP, "worker", 1)
    load = Load(lambda: server.url, "/spread", [[{"n": number}] for number in range(REQUESTS)]).start()

    def all_is_spread(status: dict[str, list[dict[str, int]]]) -> bool:
        memory.look()
        return status["operators"][1]["out"] == REQUESTS * RECORDS

    server.until_status(all_is_spread, "the end of the fan-out", limit_s=120)
    waiting = server.of("worker", 0)["counters"]["outbox_records"]
    on_disk = size_of(server.data_dir / "g1" / "w0" / "state")
    print(f"{waiting} records wait, {on_disk / MIB:.0f} MiB on disk, {memory.growth}")
    assert waiting > REQUESTS * RECORDS // 4
    assert on_disk > waiting * RECORD_BYTES
    assert load.done == 0
    os.kill(stopped, signal.SIGCONT)
    while not load.at_end:
        memory.look()
        load.until_done(20)
    assert {exchange.status for exchange in load.join()} == {204}
    print(f"growth: { ({name: f'{grown / MIB:.1f} MiB' for name, grown in memory.growth.items()}) }")
    assert max(memory.growth.values()) < GROWTH_LIMIT_BYTES < waiting * RECORD_BYTES
    for key in range(KEYS):
        each = len(range(key, RECORDS, KEYS))
        expected = {"count": each * REQUESTS, "sum": each * sum(range(REQUESTS))}
        assert post(server.url, "/spread", {"ask": key}).body == expected
    assert server.stop() == 0

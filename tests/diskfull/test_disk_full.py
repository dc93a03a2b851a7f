"""A real server whose disk fills up under load: it refuses, loses nothing, and goes on when there is room."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mini_flink.errors import EXIT_STORAGE
from tests.diskfull.conftest import Serve
from tests.e2e import ledgers
from tests.e2e.client import Exchange, Load
from tests.e2e.server import JOBS, LIMIT_S, Server

SMALL_STEPS = ("--log-segment-bytes", "65536", "--flush-interval-ms", "100", "--request-timeout-ms", "60000")


class Ballast:
    """A file that takes all the space there is."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def __enter__(self) -> Ballast:
        self.fill()
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink()

    def fill(self) -> None:
        """Take what has become free meanwhile too."""
        with self._path.open("ab", buffering=0) as file:
            for step in (1 << 20, 1 << 12):
                try:
                    while file.write(bytes(step)) == step:
                        pass
                except OSError:
                    continue


def is_full(report: dict[str, Any]) -> bool:
    """Whether every worker says that it has no space: one that has some lets requests in, and keeps them."""
    workers = [process for process in report["processes"] if process["role"] == "worker"]
    return all(process["counters"].get("storage_full") for process in workers)


def until(load: Load, status: int, more: int) -> None:
    """Wait until so many more requests than now have had this answer."""
    deadline = time.monotonic() + LIMIT_S
    goal = count(load, status) + more
    while count(load, status) < goal:
        assert time.monotonic() < deadline, f"{count(load, status)} of {goal} were answered with {status}"
        time.sleep(0.02)


def count(load: Load, status: int) -> int:
    return sum(exchange.status == status for exchange in load.all())


class Loads:
    """One that finds the disk filling up, all of whose requests may have to wait; one that finds it full."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.first = Load(lambda: server.url, "/add", ledgers.chains(16)).start()
        until(self.first, 200, 300)

    def knock(self) -> Load:
        """Everyone who comes now and is not let in hears so at once."""
        self._server.until_status(is_full, "a full disk")
        self.second = Load(lambda: self._server.url, "/add", ledgers.chains(8, start=1_000_000)).start()
        until(self.second, 503, 100)
        return self.second

    def stop(self) -> list[Exchange]:
        return [*self.first.stop(), *self.second.stop()]


def refused(exchanges: list[Exchange]) -> set[str]:
    return {exchange.value["token"] for exchange in exchanges if exchange.status == 503}


def test_a_full_disk_refuses_and_loses_nothing(serve: Serve, small_disk: Path) -> None:
    server = serve(JOBS / "ledger.py", "--workers", "2", *SMALL_STEPS).start()
    loads = Loads(server)
    with Ballast(small_disk) as ballast:
        late = loads.knock()
        ballast.fill()
        until(late, 503, 200)
    until(late, 200, 300)
    until(loads.first, 200, 300)
    exchanges = loads.stop()
    assert {exchange.status for exchange in exchanges} == {200, 503}
    assert all("retry-after" in exchange.headers for exchange in exchanges if exchange.status == 503)
    assert ledgers.problems(server.url, exchanges) == []
    first, _ = ledgers.read(server.url)
    assert refused(exchanges).isdisjoint(first)
    assert all(process["restarts"] == 0 for process in server.status()["processes"])
    assert server.stop() == 0


def test_a_worker_that_dies_on_a_full_disk_is_back_when_there_is_room(serve: Serve, small_disk: Path) -> None:
    server = serve(JOBS / "ledger.py", "--workers", "2", *SMALL_STEPS).start()
    loads = Loads(server)
    with Ballast(small_disk) as ballast:
        loads.knock()
        ballast.fill()
        since = server.kill("worker", 0)
        server.until("worker 0 must wait: .* No space left", since)
    server.until_back("worker", 0, since)
    until(loads.first, 200, 300)
    exchanges = loads.stop()
    assert {exchange.status for exchange in exchanges} == {200, 503}
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


def test_a_server_that_is_killed_on_a_full_disk_starts_when_there_is_room(
    serve: Serve, small_disk: Path
) -> None:
    server = serve(JOBS / "ledger.py", "--workers", "2", *SMALL_STEPS).start()
    loads = Loads(server)
    with Ballast(small_disk) as ballast:
        loads.knock()
        ballast.fill()
        server.kill_all()
        exchanges = loads.stop()
        ballast.fill()
        since = server.launch()
        assert server.wait() == EXIT_STORAGE
        assert "No space left on device" in server.output[since:]
    server.start()
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0

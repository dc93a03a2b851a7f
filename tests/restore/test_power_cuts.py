"""``process`` durability after a power cut: the last whole snapshot of the folder, by itself, and said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.client import post_all
from tests.e2e.conftest import Serve
from tests.e2e.server import Server
from tests.restore.folders import cut_the_power, record, refused, savepoint

TOTAL = "mini_flink.examples.running_total"
KEYS = [f"k{number}" for number in range(24)]
PROCESS = ("--durability", "process", "--gateways", "1", "--snapshot-interval-s", "0")


def add(server: Server, amount: int) -> set[Any]:
    """To every key; the totals, which are one if all have lost the same."""
    chains = [[{"key": key, "amount": amount}] for key in KEYS]
    return {one.body["total"] for [one] in post_all(server.url, "/total", chains)}


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(TOTAL, *PROCESS).start("--workers", "2")


@pytest.mark.parametrize("workers", ["2", "3"])
def test_it_goes_back_to_the_last_snapshot_and_says_so(server: Server, workers: str) -> None:
    add(server, 1)
    savepoint(server)
    add(server, 1)
    taken = savepoint(server)
    assert add(server, 1) == {3}
    server.kill_all()
    cut_the_power(server)
    since = server.mark()
    server.start("--workers", workers)
    said = server.output[since:]
    assert f"going back to the savepoint {taken['id']}; what was done since 20" in said
    assert f"restored from {taken['id']}" in said
    restored = server.status()["restored"]
    assert (restored["snapshot"], restored["reason"]) == (taken["id"], "power cut")
    assert restored["lost_since"].startswith("20")
    assert add(server, 0) == {2}
    server.kill_all()
    server.start()
    assert add(server, 0) == {2}
    assert server.status()["restored"] == restored
    assert server.stop() == 0


def test_a_damaged_snapshot_is_passed_over(server: Server) -> None:
    add(server, 1)
    older = savepoint(server)
    add(server, 1)
    newer = savepoint(server)
    server.kill_all()
    cut_the_power(server)
    file = server.data_dir / "snapshots" / newer["id"] / "w1.state"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    since = server.mark()
    server.start()
    said = server.output[since:]
    assert f"the savepoint {newer['id']} is damaged and passed over" in said
    assert f"restored from {older['id']}" in said
    assert add(server, 0) == {1}
    assert server.stop() == 0


def test_it_does_not_go_forward_to_what_a_restore_went_back_behind(server: Server) -> None:
    add(server, 1)
    first = savepoint(server)
    add(server, 1)
    savepoint(server)
    assert server.stop() == 0
    server.start("--restore", first["id"], "--yes")
    assert add(server, 5) == {6}
    server.kill_all()
    cut_the_power(server)
    server.start("--workers", "3")
    assert add(server, 0) == {1}
    add(server, 1)
    third = savepoint(server)
    server.kill_all()
    cut_the_power(server)
    server.start()
    assert server.status()["restored"]["snapshot"] == third["id"]
    assert add(server, 0) == {2}
    assert server.stop() == 0


def test_without_a_snapshot_it_is_refused(server: Server) -> None:
    add(server, 1)
    server.kill_all()
    cut_the_power(server)
    code, said = refused(server)
    assert code == 78
    assert "no whole snapshot of it" in said
    assert "--accept-inconsistent-state serves what is left" in said
    server.start("--accept-inconsistent-state")
    assert add(server, 0) == {1}, "no power was cut here"
    assert server.status()["restored"] is None
    assert server.stop() == 0


@pytest.mark.parametrize("point", ["mid_restore", "after_switch"])
def test_a_power_cut_is_survived_by_a_start_that_is_killed(server: Server, point: str) -> None:
    add(server, 1)
    taken = savepoint(server)
    add(server, 1)
    server.kill_all()
    cut_the_power(server)
    server.launch(environment={"MINI_FLINK_CRASH": point})
    assert server.wait() == -9
    since = server.mark()
    server.start()
    assert f"restored from {taken['id']}" in server.output[since:]
    assert add(server, 0) == {1}
    assert (
        [path.name for path in server.data_dir.glob("g*")] == [f"g{record(server)['generation']}"] == ["g2"]
    )
    assert server.stop() == 0


@pytest.mark.parametrize("stop", [False, True])
def test_disk_durability_and_clean_stops_need_nothing(serve: Serve, stop: bool) -> None:
    options = PROCESS if stop else ("--gateways", "1")
    server = serve(TOTAL, *options).start("--workers", "2")
    add(server, 1)
    savepoint(server)
    add(server, 1)
    if stop:
        assert server.stop() == 0
    else:
        server.kill_all()
    cut_the_power(server)
    server.start()
    assert add(server, 0) == {2}
    assert record(server)["generation"] == 1
    assert server.stop() == 0

"""``serve --restore``: from a snapshot of a server that is gone to one that holds what it held."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ledgers
from tests.e2e.client import Exchange, Load, post, post_all
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, LIMIT_S, Server
from tests.examples.models import RiskEngine, RunningTotal
from tests.examples.payments import payment_chains
from tests.restore.folders import contents, failed, record, refused, run, savepoint

TOTAL = "mini_flink.examples.running_total"
RISK = "mini_flink.examples.risk_engine"
KEYS = [f"k{number}" for number in range(40)]


def add(server: Server, model: RunningTotal, amount: int) -> None:
    """To every key, and to the model."""
    chains = [[{"key": key, "amount": amount + number}] for number, key in enumerate(KEYS)]
    for [exchange] in post_all(server.url, "/total", chains):
        assert exchange.body == model.reply(exchange.value)


def totals(server: Server) -> dict[str, Any]:
    """Those that are there; reading them does not change them."""
    chains = [[{"key": key, "amount": 0}] for key in KEYS]
    replies = [exchange.body for [exchange] in post_all(server.url, "/total", chains)]
    return {reply["key"]: reply["total"] for reply in replies if reply["total"]}


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 2)])
def test_it_holds_what_was_there_at_the_savepoint(serve: Serve, before: int, after: int) -> None:
    server = serve(TOTAL, "--gateways", "1").start("--workers", str(before))
    model = RunningTotal()
    add(server, model, 100)
    taken = savepoint(server)
    later = deepcopy(model)
    add(server, later, 7)
    server.kill_all()

    code, said = refused(server, "--restore", "latest", "--workers", str(after))
    assert code == 78
    assert f"restoring the savepoint {taken['id']} drops what {server.data_dir} has done since 20" in said
    assert f"(generation 1 of {before} worker" in said
    assert "--yes drops it" in said

    since = server.mark()
    server.start("--restore", "latest", "--workers", str(after), "--yes")
    assert f"restored from {taken['id']}" in server.output[since:]
    report = server.status()
    assert report["restored"]["snapshot"] == taken["id"]
    assert report["restored"]["reason"] == "asked"
    assert sum(process["role"] == "worker" for process in report["processes"]) == after
    assert totals(server) == model.totals
    assert not (server.data_dir / "g1").exists()
    add(server, model, 3)
    server.kill_all()
    server.start()
    assert totals(server) == model.totals, "it goes on from there, and is not restored again"
    assert server.stop() == 0


def test_on_another_host_by_path_and_by_the_folder_that_holds_it(serve: Serve, tmp_path: Path) -> None:
    away = tmp_path / "away"
    server = serve(TOTAL, "--gateways", "2").start("--workers", "2")
    model = RunningTotal()
    add(server, model, 5)
    server.kill("gateway", 1)
    server.until(r"gateway 1 is back ")
    taken = savepoint(server, "--to", away)
    server.kill_all()
    shutil.rmtree(server.data_dir)
    incarnations = json.loads((away / taken["id"] / "manifest.json").read_text())["incarnations"]
    assert incarnations["g1"] == 2
    for place, workers in ((away, 3), (away / taken["id"], 1)):
        other = serve(TOTAL, "--gateways", "2").start("--restore", str(place), "--workers", str(workers))
        assert totals(other) == model.totals
        for process in other.status()["processes"]:
            name = {"worker": "w", "gateway": "g"}.get(process["role"], "supervisor")
            used = incarnations.get(name if name == "supervisor" else f"{name}{process['index']}", 0)
            assert process["incarnation"] > used, process
        assert record(other)["epoch"] >= taken["epoch"]
        second = savepoint(other)
        assert second["epoch"] > taken["epoch"]
        assert other.stop() == 0
    plain = serve(TOTAL, "--gateways", "1").start("--restore", str(away))
    assert sum(process["role"] == "worker" for process in plain.status()["processes"]) == 2
    assert plain.stop() == 0


def test_a_folder_of_which_only_the_snapshots_are_left(serve: Serve) -> None:
    server = serve(TOTAL, "--gateways", "1").start("--workers", "2")
    model = RunningTotal()
    add(server, model, 1)
    savepoint(server)
    server.kill_all()
    for entry in server.data_dir.iterdir():
        if entry.name != "snapshots":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    code, said = refused(server)
    assert (code, "--restore latest goes on from the last one" in said) == (78, True)
    server.start("--restore", "latest")
    assert totals(server) == model.totals
    assert server.stop() == 0


# --- a savepoint under load ------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2)])
def test_the_stages_of_a_ledger_agree(serve: Serve, before: int, after: int) -> None:
    server = serve(JOBS / "ledger.py", "--gateways", "2").start("--workers", str(before))
    load = Load(lambda: server.url, "/add", ledgers.chains(32)).start()
    load.until_done(300)
    answered = {exchange.value["token"] for exchange in load.all() if exchange.ok}
    savepoint(server)
    sent = {exchange.value["token"] for exchange in load.all()}
    load.until_done(300)
    server.kill_all()
    load.stop()
    server.start("--restore", "latest", "--yes", "--workers", str(after))
    first, second = ledgers.read(server.url)
    assert first == second, "each token is in both stages or in neither"
    assert set(first.values()) == {1}
    assert answered <= first.keys() <= sent
    assert server.stop() == 0


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2)])
def test_risk_engine_goes_on_from_a_moment_of_its_model(
    serve: Serve, before: int, after: int, tmp_path: Path
) -> None:
    server = serve(RISK, "--gateways", "2").start("--workers", str(before))
    chains = payment_chains(SEED, chains=16, length=1000)
    load = Load(lambda: server.url, "/event", chains).start()
    load.until_done(600)
    least = [sum(exchange.ok for exchange in sent) for sent in load.exchanges]
    savepoint(server, "--to", tmp_path / "away")
    most = [len(sent) for sent in load.exchanges]
    load.until_done(300)
    server.kill_all()
    load.stop()
    other = serve(RISK, "--gateways", "2").start("--restore", str(tmp_path / "away"), "--workers", str(after))
    rest = [chain[-40:] for chain in chains]
    exchanges = post_all(other.url, "/event", rest)
    for chain, replies, first, last in zip(chains, exchanges, least, most, strict=True):
        assert any(_fits(model, replies) for model in _moments(chain, first, last))
    assert other.stop() == 0


def _moments(chain: list[dict[str, Any]], first: int, last: int) -> Iterator[RiskEngine]:
    """The model after so many payments."""
    model = RiskEngine()
    for number, payment in enumerate(chain[:last]):
        if number >= first:
            yield deepcopy(model)
        model.reply(payment)
    yield model


def _fits(model: RiskEngine, exchanges: list[Exchange]) -> bool:
    return all(exchange.body == model.reply(exchange.value) for exchange in exchanges)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.fixture
def left(serve: Serve) -> Server:
    """A server that was killed, with a savepoint and some more behind it."""
    server = serve(TOTAL, "--gateways", "1").start("--workers", "2")
    add(server, RunningTotal(), 1)
    savepoint(server)
    assert post(server.url, "/total", {"key": "later", "amount": 1}).ok
    server.kill_all()
    return server


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("file", ["w0.state", "w1.channels", "manifest.json"])
@pytest.mark.parametrize("damage", [_flip, _cut, Path.unlink])
def test_a_snapshot_that_is_not_whole(left: Server, file: str, damage: Any) -> None:
    [snapshot] = (left.data_dir / "snapshots").iterdir()
    damage(snapshot / file)
    for name in (snapshot.name, str(snapshot)):
        code, said = refused(left, "--restore", name, "--yes", "--workers", "3")
        assert code in (74, 78)
        assert snapshot.name in said
        assert "help: " in said
    code, said = refused(left, "--restore", "latest", "--yes")
    assert code in (74, 78)
    left.start()
    assert post(left.url, "/total", {"key": "later", "amount": 1}).body["total"] == 2
    assert left.stop() == 0


@pytest.mark.parametrize("file", ["w0.state", "manifest.json"])
def test_the_latest_is_the_latest_that_is_whole(serve: Serve, file: str) -> None:
    server = serve(TOTAL, "--gateways", "1").start("--workers", "2")
    model = RunningTotal()
    add(server, model, 1)
    first = savepoint(server)
    later = deepcopy(model)
    add(server, later, 1)
    second = savepoint(server)
    assert server.stop() == 0
    _flip(server.data_dir / "snapshots" / second["id"] / file)
    since = server.mark()
    server.start("--restore", "latest", "--yes")
    said = server.output[since:]
    assert f"{second['id']} is damaged and passed over: " in said
    assert f"restored from {first['id']}" in said
    assert totals(server) == model.totals
    assert server.stop() == 0


def test_a_snapshot_of_another_job(left: Server, serve: Serve) -> None:
    [snapshot] = (left.data_dir / "snapshots").iterdir()
    other = serve(JOBS / "ledger.py", "--gateways", "1").start()
    assert other.stop() == 0
    code, said = refused(other, "--restore", str(snapshot), "--yes")
    assert code == 78
    assert f"{snapshot.name} is of job 'running-total', not of 'ledger'" in said
    code, said = refused(other, "--restore", str(snapshot.parent), "--yes")
    assert (code, "no whole snapshot of job 'ledger'" in said) == (78, True)


@pytest.mark.parametrize("name", ["latest", "00000000-000001", "nowhere"])
def test_a_snapshot_that_is_not_there(serve: Serve, name: str) -> None:
    server = serve(TOTAL, "--gateways", "1")
    code, said = failed(server, "--restore", name)
    assert (code, "help: " in said) == (78, True)
    assert contents(server.data_dir) == {}
    server.start()
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("", 78, "'' names no snapshot"),
        ("ftp://u:s3cr3t@127.0.0.1:1/x", 74, "cannot open ftp://127.0.0.1:1/x: ConnectionRefusedError"),
    ],
)
def test_a_place_that_cannot_be_looked_at(serve: Serve, name: str, code: int, reason: str) -> None:
    server = serve(TOTAL, "--gateways", "1")
    ended, said = failed(server, "--restore", name)
    assert (ended, reason in said, "help: " in said) == (code, True, True)
    assert "s3cr3t" not in said
    assert "Traceback" not in said


# --- a restore that is killed -----------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["mid_restore", "after_restore_build", "after_switch"])
def test_a_killed_restore_is_done_or_has_not_begun(left: Server, point: str) -> None:
    options = ("--restore", "latest", "--yes", "--workers", "3")
    left.launch(*options, environment={"MINI_FLINK_CRASH": point})
    assert left.wait() == -9
    left.start()
    assert post(left.url, "/total", {"key": "later", "amount": 1}).body["total"] == (
        1 if point == "after_switch" else 2
    )
    assert [path.name for path in left.data_dir.glob("g*")] == [f"g{record(left)['generation']}"]
    assert left.stop() == 0


def test_what_was_just_restored_needs_no_yes_until_it_is_served(left: Server) -> None:
    options = ("--restore", "latest", "--workers", "3")
    left.launch(*options, "--yes", environment={"MINI_FLINK_CRASH": "after_switch"})
    assert left.wait() == -9
    since = left.mark()
    left.start(*options)
    assert "restored from" in left.output[since:]
    left.kill_all()
    assert refused(left, *options)[0] == 78


@pytest.mark.parametrize("point", ["mid_restore", "after_switch"])
def test_a_killed_restore_into_a_new_folder(left: Server, serve: Serve, point: str) -> None:
    snapshots = left.data_dir / "snapshots"
    other = serve(TOTAL, "--gateways", "1")
    other.launch("--restore", str(snapshots), environment={"MINI_FLINK_CRASH": point})
    assert other.wait() == -9
    other.start("--restore", str(snapshots))
    assert totals(other)[KEYS[0]] == 1
    assert other.stop() == 0


@pytest.mark.parametrize("options", [("--restore", "latest", "--yes"), ("--workers", "3")])
def test_who_is_still_at_work_for_a_dead_supervisor_is_ended(serve: Serve, options: tuple[str, ...]) -> None:
    server = serve(TOTAL, "--gateways", "1", "--hang-timeout-ms", "0").start("--workers", "2")
    model = RunningTotal()
    add(server, model, 1)
    savepoint(server)
    others = [server.pid("worker", 0), server.pid("gateway", 0)]
    orphan = server.send(signal.SIGSTOP, "worker", 1)
    server.process.kill()
    server.wait()
    server.until_gone(others)
    server.start(*options)
    server.until_gone([orphan])
    assert totals(server) == model.totals
    assert server.stop() == 0


def test_dead_letters_come_along(serve: Serve) -> None:
    server = serve(JOBS / "failing.py", "--gateways", "1").start("--workers", "3")
    for key in KEYS[:8]:
        assert post(server.url, "/total", {"key": key, "amount": 1, "do": "raise"}).status == 500
    # A letter is in its table a moment after its client was answered.
    deadline = time.monotonic() + LIMIT_S
    while len(listed := _error_ids(server)) < 8:
        assert time.monotonic() < deadline, f"there are only {listed}"
    savepoint(server)
    server.kill_all()
    server.start("--restore", "latest", "--yes", "--workers", "2")
    assert _error_ids(server) == listed
    assert server.stop() == 0


def _error_ids(server: Server) -> set[str]:
    done = run("dead-letters", "list", "--data-dir", server.data_dir, "--json")
    return {letter["error_id"] for letter in json.loads(done.stdout)["dead_letters"]}

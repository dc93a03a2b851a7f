"""A plain start with other workers, or of a changed job: the last word of the old workers moves."""

from __future__ import annotations

import json
import shutil
import signal
from typing import Any

import pytest

from tests.e2e import checks, ledgers
from tests.e2e.client import Load, post, post_all
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, Server
from tests.examples.models import RiskEngine
from tests.examples.payments import payment_chains
from tests.restore.folders import failed, record, refused, run, savepoint

UNFLUSHED = ("--flush-interval-ms", "600000", "--gateways", "2")
EVOLVING = JOBS / "evolving.py"


def workers_of(server: Server) -> int:
    return sum(process["role"] == "worker" for process in server.status()["processes"])


# --- workers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_what_only_the_logs_had_moves_with_the_rest(serve: Serve, durability: str) -> None:
    options = (*UNFLUSHED, "--durability", durability)
    server = serve("mini_flink.examples.running_total", *options).start("--workers", "1")
    exchanges = []
    for workers in (3, 2, 2):
        load = Load(lambda: server.url, "/total", checks.amounts(SEED + workers, 16)).start()
        load.until_done(300)
        server.kill_all()
        exchanges += load.stop()
        server.start("--workers", str(workers))
        assert workers_of(server) == workers
    assert record(server)["generation"] == 3, "nothing moves where nothing has changed"
    closing = post_all(server.url, "/total", [[{"key": f"k{n}", "amount": 1}] for n in range(checks.KEYS)])
    # Without those that were cut off there may be gaps, and no total twice.
    seen = [(one.value["key"], one.body["total"]) for one in exchanges if one.ok]
    assert len(seen) == len(set(seen))
    for [last] in closing:
        key = last.value["key"]
        known = sum(one.value["amount"] for one in exchanges if one.value["key"] == key and one.ok)
        most = sum(one.value["amount"] for one in exchanges if one.value["key"] == key)
        assert known <= last.body["total"] - 1 <= most
    assert server.stop() == 0


def test_risk_engine_equals_its_model(serve: Serve) -> None:
    server = serve("mini_flink.examples.risk_engine", *UNFLUSHED)
    chains = payment_chains(SEED, chains=12, length=120)
    models = [RiskEngine() for _ in chains]
    for round, workers in enumerate((2, 3, 1)):
        server.start("--workers", str(workers))
        parts = [chain[round * 40 : round * 40 + 40] for chain in chains]
        for model, exchanges in zip(models, post_all(server.url, "/event", parts), strict=True):
            for exchange in exchanges:
                assert exchange.body == model.reply(exchange.value)
        server.kill_all()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_records_that_were_under_way_arrive_once(serve: Serve, workers: str) -> None:
    server = serve(JOBS / "ledger.py", *UNFLUSHED, "--hang-timeout-ms", "0").start("--workers", "2")
    load = Load(lambda: server.url, "/add", ledgers.chains(16)).start()
    load.until_done(100)
    server.send(signal.SIGSTOP, "worker", 1)
    server.until_status(
        lambda status: status["processes"][1]["counters"]["outbox_records"] > 0, "records for worker 1"
    )
    server.kill_all()
    exchanges = load.stop()
    server.start("--workers", workers)
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


def test_dead_letters_are_kept(serve: Serve) -> None:
    server = serve(JOBS / "failing.py", *UNFLUSHED).start("--workers", "3")
    for number in range(8):
        assert post(server.url, "/total", {"key": f"k{number}", "amount": 1, "do": "raise"}).status == 500
        assert post(server.url, "/total", {"key": f"k{number}", "amount": 5}).body == {"total": 5}
    before = _letters(server)
    server.kill_all()
    server.start("--workers", "2")
    assert _letters(server) == before
    assert len(before) == 8
    for number in range(8):
        assert post(server.url, "/total", {"key": f"k{number}", "amount": 1}).body == {"total": 6}
    assert server.stop() == 0


def _letters(server: Server) -> set[tuple[str, str, str]]:
    done = run("dead-letters", "list", "--data-dir", server.data_dir, "--json")
    letters = json.loads(done.stdout)["dead_letters"]
    return {(letter["error_id"], letter["key"], letter["value"]) for letter in letters}


@pytest.mark.parametrize("point", ["mid_restore", "after_restore_build", "after_switch"])
def test_a_killed_change_is_done_or_has_not_begun(serve: Serve, point: str) -> None:
    server = serve(EVOLVING, *UNFLUSHED, args=["old"]).start("--workers", "2")
    add(server, 1)
    server.kill_all()
    server.launch("--workers", "3", environment={"MINI_FLINK_CRASH": point})
    assert server.wait() == -9
    server.start()
    assert workers_of(server) == (3 if point == "after_switch" else 2)
    assert add(server, 1) == {key: {"total": 2, "seen": [1, 1]} for key in KEYS}
    assert [path.name for path in server.data_dir.glob("g*")] == [f"g{record(server)['generation']}"]
    assert server.stop() == 0


# --- changed jobs -----------------------------------------------------------------------------------------

KEYS = [f"k{number}" for number in range(24)]


def add(server: Server, amount: int) -> dict[str, Any]:
    """To every key; the replies."""
    chains = [[{"key": key, "amount": amount}] for key in KEYS]
    return {one.value["key"]: one.body for [one] in post_all(server.url, "/add", chains)}


@pytest.fixture(params=["plain", "restored", "restored elsewhere"])
def left(request: pytest.FixtureRequest, serve: Serve) -> Server:
    """1 and 2 were added to every key; the next start goes on from there, with ``options`` of its own."""
    server = serve(EVOLVING, *UNFLUSHED, args=["old"]).start("--workers", "2")
    add(server, 1)
    add(server, 2)
    if request.param != "plain":
        savepoint(server)
    if request.param == "restored":
        add(server, 4)
        server.options = (*UNFLUSHED, "--restore", "latest", "--yes")
    server.kill_all()
    if request.param == "restored elsewhere":
        away = server.data_dir.with_name("away")
        shutil.move(server.data_dir / "snapshots", away)
        shutil.rmtree(server.data_dir)
        server.options = (*UNFLUSHED, "--restore", str(away))
    return server


def again(server: Server, version: str, *options: str) -> Server:
    server.args = (version,)
    return server.start(*options)


def test_new_states_and_operators_begin_empty(left: Server) -> None:
    again(left, "grown")
    assert add(left, 5) == {key: {"total": 8, "seen": [1, 2, 5]} for key in KEYS}
    assert left.stop() == 0


def test_a_migration_is_run(left: Server) -> None:
    again(left, "typed")
    replies = add(left, 5)
    assert replies == {key: {"total": 8.0, "seen": [1, 2, 5]} for key in KEYS}
    assert {type(reply["total"]) for reply in replies.values()} == {float}
    assert left.stop() == 0


def test_another_parallelism_moves_the_state(left: Server) -> None:
    again(left, "spread", "--workers", "3")
    assert add(left, 5) == {key: {"total": 8, "seen": [1, 2, 5]} for key in KEYS}
    assert left.stop() == 0


def test_dropped_state_needs_a_word(left: Server) -> None:
    code, said = unfit(left, "shrunk")
    assert code == 78
    assert "state 'seen' of operator 'total' is stored and not declared any more" in said
    assert "--allow-dropped-state" in said


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("untold", "migrate_from(int"),
        ("turned", "a list cannot become a map"),
        ("renamed", "of operator 'total'"),
        ("twice", "for 2 reasons"),
    ],
)
def test_what_does_not_fit_is_refused(left: Server, version: str, expected: str) -> None:
    code, said = unfit(left, version)
    assert code == 78
    assert expected in said
    again(left, "old")
    assert add(left, 5) == {key: {"total": 8, "seen": [1, 2, 5]} for key in KEYS}
    assert left.stop() == 0


def unfit(server: Server, version: str) -> tuple[int, str]:
    """A start that must be refused; what the job has left is there as it was."""
    server.args = (version,)
    code, said = failed(server)
    if server.data_dir.joinpath("job.json").exists():
        assert record(server)["generation"] == 1
    return code, said


def test_state_that_is_dropped_on_purpose(serve: Serve) -> None:
    server = serve(EVOLVING, *UNFLUSHED, args=["old"]).start("--workers", "2")
    add(server, 1)
    server.kill_all()
    with_word = again(server, "renamed", "--allow-dropped-state")
    assert add(with_word, 5) == {key: {"total": 5, "seen": [5]} for key in KEYS}
    assert server.stop() == 0
    again(server, "old", "--allow-dropped-state")
    assert add(server, 7) == {key: {"total": 7, "seen": [7]} for key in KEYS}
    assert server.stop() == 0


def test_nothing_moves_where_only_something_new_was_added(serve: Serve) -> None:
    server = serve(EVOLVING, *UNFLUSHED, args=["old"]).start("--workers", "2")
    add(server, 1)
    server.kill_all()
    again(server, "grown")
    assert record(server)["generation"] == 1
    assert server.stop() == 0


def test_records_for_an_operator_that_is_gone(serve: Serve) -> None:
    server = serve(JOBS / "changing.py", "--gateways", "1", "--hang-timeout-ms", "0")
    server.args = ("count", "n", "gone")
    server.start("--workers", "2")
    server.send(signal.SIGSTOP, "worker", 1)
    load = Load(lambda: server.url, "/add", [[{"key": f"k{number % 10}"}] for number in range(60)]).start()
    server.until_status(
        lambda status: status["processes"][1]["counters"]["outbox_records"] > 0, "records for worker 1"
    )
    server.kill_all()
    load.stop()
    server.args = ("count", "n", "-")
    code, said = failed(server, "--workers", "3")
    assert (code, "records are still to be delivered to 'gone'" in said) == (78, True)
    assert (record(server)["generation"], workers_left(server)) == (1, ["g1"])
    server.start("--workers", "3", "--allow-dropped-state")
    assert record(server)["generation"] == 2
    assert server.stop() == 0


def workers_left(server: Server) -> list[str]:
    return [path.name for path in server.data_dir.glob("g*")]


def test_a_refused_restore_touches_nothing(serve: Serve) -> None:
    server = serve(EVOLVING, *UNFLUSHED, args=["old"]).start("--workers", "2")
    add(server, 1)
    savepoint(server)
    server.kill_all()
    server.args = ("shrunk",)
    code, said = refused(server, "--restore", "latest", "--yes", "--workers", "3")
    assert (code, "state 'seen' of operator 'total'" in said) == (78, True)
    server.args = ("foreign",)
    code, said = refused(server, "--restore", "latest", "--yes")
    assert (code, "'evolving'" in said) == (78, True)

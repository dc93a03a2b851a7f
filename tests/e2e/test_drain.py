"""``drain`` and ``resume``: who was let in has an answer, who comes hears 503, and nobody slips through."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.e2e import ledgers
from tests.e2e.client import Exchange, Load, post
from tests.e2e.commands import Running, run
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server

LEDGER = JOBS / "ledger.py"
CONNECTIONS = 8


def put_load_on(server: Server) -> Load:
    return Load(lambda: server.url, "/add", ledgers.chains(CONNECTIONS)).start()


def is_refusal(exchange: Exchange) -> bool:
    """503 as a drained server says it."""
    return (
        exchange.status == 503
        and exchange.body["code"] == "draining"
        and exchange.headers["content-type"] == "application/problem+json"
        and int(exchange.headers["retry-after"]) >= 1
    )


def check(server: Server, exchanges: Sequence[Exchange]) -> None:
    """Each request was answered and is there once, or refused and is not there at all."""
    assert [each for each in exchanges if not each.ok and not each.lost and not is_refusal(each)] == []
    assert ledgers.problems(server.url, exchanges) == []
    there = ledgers.read(server.url)
    refused = [each.value["token"] for each in exchanges if is_refusal(each)]
    assert [token for token in refused if token in there[0] or token in there[1]] == []


def answers_from_now(load: Load) -> Callable[[], list[Exchange]]:
    """Gives the answers to requests that are sent after this."""
    marks = [len(chain) for chain in load.exchanges]
    chains = zip(load.exchanges, marks, strict=True)
    return lambda: [each for chain, mark in chains for each in chain[mark:] if each.status]


def state_of(server: Server) -> str:
    return str(server.status()["state"])


def test_under_load_nobody_fails_and_who_is_refused_has_changed_nothing(serve: Serve) -> None:
    server = serve(LEDGER, "--gateways", "2").start("--workers", "2")
    load = put_load_on(server)
    for _ in range(2):
        load.until_done(200)
        drained = run(server, "drain", "--json")
        assert drained.code == 0
        assert (drained.json()["state"], drained.json()["timed_out"]) == ("drained", 0)
        status = server.status()
        assert (status["state"], status["pending"]) == ("drained", 0)
        later = answers_from_now(load)
        load.until_done(100)
        assert [each for each in later() if not is_refusal(each)] == []
        assert run(server, "resume").code == 0
        later = answers_from_now(load)
        load.until_done(100)
        assert [each for each in later() if each.ok]
    exchanges = load.stop()
    assert not [each for each in exchanges if each.lost]
    assert load.refused == 0, "the port was never let go of"
    assert not [each for each in exchanges if each.headers.get("connection") == "close"]
    check(server, exchanges)
    assert server.stop() == 0


# --- in flight --------------------------------------------------------------------------------------------


def waiting(server: Server, numbers: range, pending: int) -> Load:
    """Requests that come to the gate, or wait at the door."""
    load = Load(lambda: server.url, "/wait", [[{"n": number}] for number in numbers]).start()
    server.until_status(lambda status: status["pending"] == pending, f"{pending} pending requests")
    return load


def test_who_is_in_flight_is_answered_and_who_waits_at_the_door_is_not(
    gated: Callable[..., Server], gate: Path
) -> None:
    server = gated("--pending-capacity", "3", "--admission-wait-ms", "60000")
    inside = waiting(server, range(3), 3)
    outside = waiting(server, range(3, 5), 5)
    drain = Running(server, "drain", "--json")
    drain.until_said("3 requests in flight")
    assert all(is_refusal(each) for each in outside.join())
    with httpx.Client(base_url=server.url) as client:
        assert [client.get(path).status_code for path in ("/readyz", "/healthz")] == [503, 200]
        assert client.post("/echo", json={}).json()["code"] == "draining"
    assert state_of(server) == "draining"
    second = Running(server, "drain", "--json")
    second.until_said("3 requests in flight")
    assert drain.runs
    gate.touch()
    assert [exchange.body for exchange in inside.join()] == [{"n": number} for number in range(3)]
    for told in (drain.wait().json(), second.wait().json()):
        assert {name: told[name] for name in ("state", "already", "answered", "timed_out")} == {
            "state": "drained",
            "already": False,
            "answered": 3,
            "timed_out": 0,
        }
    assert run(server, "drain", "--json").json()["already"] is True
    assert state_of(server) == "drained"
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/echo", json={}).status_code == 503
        assert run(server, "resume", "--json").json() == {"state": "serving", "already": False}
        assert client.post("/echo", json={}).status_code == 200, "on the same connection"
        assert client.get("/readyz").status_code == 200
    assert run(server, "resume", "--json").json() == {"state": "serving", "already": True}
    kinds = [event["kind"] for event in server.status()["events"]]
    assert kinds[-3:] == ["draining", "drained", "resumed"]
    assert server.stop() == 0


def test_who_does_not_wait_for_ever_leaves_the_door_closed(gated: Callable[..., Server], gate: Path) -> None:
    server = gated()
    inside = waiting(server, range(2), 2)
    late = run(server, "drain", "--timeout", "0.1")
    assert late.code == 75
    assert "2 requests in flight" in late.err
    assert "resume" in late.err
    assert is_refusal(post(server.url, "/echo", {}))
    drain = Running(server, "drain")
    drain.until_said("2 requests in flight")
    assert run(server, "resume").code == 0
    resumed = drain.wait()
    left = Running(server, "drain")
    left.until_said("2 requests in flight")
    left.interrupt()
    gone = left.wait()
    assert (gone.code, "goes on without you" in gone.err) == (130, True)
    assert state_of(server) == "draining"
    assert run(server, "resume").code == 0
    assert (resumed.code, "resumed meanwhile" in resumed.err) == (75, True)
    gate.touch()
    assert all(exchange.ok for exchange in inside.join())
    assert post(server.url, "/echo", {}).ok
    assert server.stop() == 0


def test_what_a_request_has_begun_is_waited_for_also_when_it_has_timed_out(
    gated: Callable[..., Server], gate: Path
) -> None:
    server = gated("--request-timeout-ms", "200")
    assert post(server.url, "/wait", {"n": 1}).status == 504
    late = run(server, "drain", "--timeout", "0.1")
    assert (late.code, "1 request in flight" in late.err) == (75, True)
    gate.touch()
    assert run(server, "drain").code == 0
    assert server.total("late_replies") == 1
    assert server.stop() == 0


def test_a_stop_ends_the_waiting(gated: Callable[..., Server], gate: Path) -> None:
    server = gated()
    inside = waiting(server, range(2), 2)
    drain = Running(server, "drain")
    drain.until_said("2 requests in flight")
    server.process.terminate()
    told = drain.wait()
    assert (told.code, "told to stop" in told.err) == (75, True)
    gate.touch()
    assert all(exchange.ok for exchange in inside.join())
    assert server.wait() == 0


# --- deaths -----------------------------------------------------------------------------------------------


def test_the_door_stays_closed_whoever_is_killed_behind_it(serve: Serve) -> None:
    server = serve(LEDGER, "--gateways", "2").start("--workers", "2")
    load = put_load_on(server)
    load.until_done(200)
    assert run(server, "drain").code == 0
    later = answers_from_now(load)
    for role, index in (("gateway", 0), ("worker", 1), ("gateway", 1), ("worker", 0)):
        since = server.kill(role, index)
        server.until_back(role, index, since)
        load.until_done(50)
        server.until_status(lambda status: status["state"] == "drained", "rest")
        assert run(server, "drain", "--json").json()["already"] is True
    assert [each for each in later() if not is_refusal(each)] == []
    assert run(server, "resume").code == 0
    load.until_done(200)
    check(server, load.stop())
    assert server.stop() == 0


def test_who_dies_while_others_are_answered(gated: Callable[..., Server], gate: Path) -> None:
    """A gateway whose clients are lost with it, and a worker that runs their records once more."""
    server = gated()
    inside = waiting(server, range(2), 2)
    drain = Running(server, "drain", "--json")
    drain.until_said("2 requests in flight")
    since = server.kill("gateway")
    assert all(exchange.lost for exchange in inside.join())
    since = server.kill("worker")
    server.until_back("worker", 0, since)
    gate.touch()
    assert drain.wait().json()["answered"] == 0
    assert is_refusal(post(server.url, "/echo", {}))
    assert run(server, "resume").code == 0
    assert post(server.url, "/echo", {}).ok
    assert server.stop() == 0


def test_kills_in_the_middle_of_drains_under_load(serve: Serve) -> None:
    server = serve(LEDGER, "--gateways", "2").start("--workers", "2")
    load = put_load_on(server)
    for role, index in (("worker", 0), ("gateway", 1), ("worker", 1)):
        load.until_done(200)
        drain = Running(server, "drain")
        drain.until_said("in flight")
        since = server.kill(role, index)
        assert drain.wait().code == 0
        server.until_back(role, index, since)
        server.until_status(lambda status: status["state"] == "drained", "rest")
        later = answers_from_now(load)
        load.until_done(50)
        assert [each for each in later() if not is_refusal(each)] == []
        assert run(server, "resume").code == 0
    load.until_done(200)
    check(server, load.stop())
    assert server.stop() == 0


def test_a_new_start_opens_the_door(serve: Serve) -> None:
    server = serve(LEDGER, "--gateways", "1").start("--workers", "2")
    load = put_load_on(server)
    load.until_done(200)
    assert run(server, "drain").code == 0
    server.kill_all()
    exchanges = load.stop()
    since = server.mark()
    server.start()
    assert "redone" not in server.output[since:], "all was in the tables"
    check(server, exchanges)
    assert server.stop() == 0


# --- and then ---------------------------------------------------------------------------------------------


def test_drain_and_stop_leaves_a_clean_folder(serve: Serve) -> None:
    server = serve(LEDGER, "--gateways", "2").start("--workers", "2")
    load = put_load_on(server)
    load.until_done(200)
    stopped = run(server, "drain", "--stop", "--json")
    assert (stopped.code, stopped.json()["state"]) == (0, "stopped")
    assert server.process.poll() == 0 or server.wait() == 0
    assert json.loads((server.data_dir / "job.json").read_text())["clean"] is True
    exchanges = load.stop()
    since = server.mark()
    server.start()
    assert "redone" not in server.output[since:]
    check(server, exchanges)
    assert server.stop() == 0
    assert run(server, "drain").code == run(server, "resume").code == 69


def test_a_savepoint_of_a_drained_server_holds_everything(serve: Serve, tmp_path: Path) -> None:
    server = serve(LEDGER, "--gateways", "1").start("--workers", "2")
    load = put_load_on(server)
    load.until_done(200)
    assert run(server, "drain").code == 0
    taken = run(server, "savepoint", "--to", str(tmp_path / "moved"), "--json").json()
    assert state_of(server) == "drained"
    assert run(server, "drain", "--stop").code == 0
    exchanges = load.stop()
    moved = serve(LEDGER, "--gateways", "1", "--workers", "3")
    moved.start("--restore", f"{taken['location']}/{taken['id']}")
    check(moved, exchanges)
    assert moved.stop() == 0


def test_rescale_and_upgrade_leave_the_door_closed(serve: Serve) -> None:
    server = serve(LEDGER, "--gateways", "1").start("--workers", "1")
    load = put_load_on(server)
    load.until_done(200)
    assert run(server, "drain").code == 0
    later = answers_from_now(load)
    assert run(server, "rescale", "--workers", "2").code == 0
    load.until_done(50)
    server.until_status(lambda status: status["state"] == "drained", "rest")
    probe = """POST /add {"key":"probe","token":null,"bucket":"probe"}"""
    upgraded = run(server, "upgrade", str(LEDGER), "--probe", probe)
    assert upgraded.code == 0
    assert "answered with 200" in upgraded.err
    load.until_done(50)
    server.until_status(lambda status: status["state"] == "drained", "rest")
    assert [each for each in later() if not is_refusal(each)] == []
    assert run(server, "savepoint").code == 0
    assert run(server, "resume").code == 0
    load.until_done(200)
    user = getpass.getuser()
    kept = "\n".join(event["text"] for event in server.status()["events"])
    for said in ("Draining", "rescale", "upgrade", r"savepoint \S+", "resumed"):
        named = rf"{said} by {user} \(pid \d+\)"
        assert re.search(named, kept), f"{said}: {kept}"
        is_noted = said.startswith("savepoint")  # the log says it to programs only
        assert is_noted or re.search(named, server.output), said
    exchanges = load.stop()
    assert not [each for each in exchanges if each.lost]
    check(server, exchanges)
    assert server.stop() == 0


def test_what_does_not_go_together_is_refused_by_name(gated: Callable[..., Server], gate: Path) -> None:
    server = gated()
    inside = waiting(server, range(1), 1)
    rescale = Running(server, "rescale", "--workers", "2")
    rescale.until_said("the job is loaded")  # and then the worker, which is at the gate, is waited for
    for command in ("drain", "resume"):
        refused = run(server, command)
        assert (refused.code, "is changed by rescale" in refused.err) == (75, True)
    gate.touch()
    assert rescale.wait().code == 0
    assert all(exchange.ok for exchange in inside.join())
    gate.unlink()
    inside = waiting(server, range(1), 1)
    drain = Running(server, "drain")
    drain.until_said("1 request in flight")
    refused = run(server, "rescale", "--workers", "1")
    assert (refused.code, "being drained" in refused.err, "resume first" in refused.err) == (75, True, True)
    gate.touch()
    assert drain.wait().code == 0
    assert all(exchange.ok for exchange in inside.join())
    assert server.stop() == 0


def test_dead_letters_are_retried_behind_the_closed_door(serve: Serve) -> None:
    server = serve(JOBS / "failing.py", "--gateways", "1").start("--workers", "2")
    failed = post(server.url, "/total", {"key": "a", "amount": 5, "do": "early"})
    assert post(server.url, "/total", {"key": "a", "amount": 100}).ok
    assert run(server, "drain").code == 0
    retried = run(server, "dead-letters retry", failed.body["error_id"], "--json")
    assert retried.json() == {"retried": 1, "skipped": 0}
    assert run(server, "drain").code == 0
    server.kill_all()
    since = server.mark()
    server.start()
    assert "redone" not in server.output[since:], "the retry is in the tables, too"
    assert post(server.url, "/total", {"key": "a", "amount": 0}).body == {"total": 105}
    assert server.stop() == 0


def test_a_stopped_gateway_is_waited_for(serve: Serve) -> None:
    """It cannot close its door: nobody may say that it has."""
    server = serve(LEDGER, "--gateways", "2").start("--workers", "1")
    pid = server.send(signal.SIGSTOP, "gateway", 1)
    assert run(server, "drain", "--timeout", "0.2").code == 75
    assert state_of(server) == "draining"
    os.kill(pid, signal.SIGCONT)
    assert run(server, "drain").code == 0
    assert server.stop() == 0


# --- at the admin address ---------------------------------------------------------------------------------


def operate(admin: httpx.Client, kind: str, **more: Any) -> dict[str, Any]:
    """Begin an operation, and follow it to its end."""
    begun = admin.post("/api/v1/ops", json={"kind": kind, **more}).json()
    with admin.stream("GET", "/api/v1/stream", timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                found: dict[str, Any] = admin.get(f"/api/v1/ops/{begun['id']}").json()
                if found["state"] in ("done", "failed"):
                    return found
    raise AssertionError(f"{kind} never ended")


def test_operators_drain_by_the_api(serve: Serve) -> None:
    environment = {"MINI_FLINK_ADMIN": "true", "MINI_FLINK_ADMIN_PORT": "0"}
    server = serve(LEDGER, "--gateways", "1", environment=environment).start("--workers", "1")
    with httpx.Client(base_url=server.status()["admin_url"]) as admin:
        server.until_status(lambda _: admin.get("/api/v1/tick").status_code == 200, "a first tick")
        for args in ({}, {"job": "another"}):
            wrong = admin.post("/api/v1/ops", json={"kind": "drain", "args": args})
            assert (wrong.status_code, "'ledger'" in wrong.json()["detail"]) == (400, True)
        args = {"job": "ledger"}
        told = admin.post("/api/v1/ops", json={"kind": "drain", "args": args, "dry_run": True}).json()
        assert "0 in flight" in told["text"]
        assert "resume" in told["text"]
        assert state_of(server) == "serving"
        assert operate(admin, "drain", args=args)["result"]["state"] == "drained"
        assert post(server.url, "/add", {"key": "a", "token": "t", "bucket": "b"}).status == 503
        server.until_status(lambda _: admin.get("/api/v1/tick").json()["state"] == "drained", "the tick")
        assert operate(admin, "resume")["result"]["state"] == "serving"
        assert post(server.url, "/add", {"key": "a", "token": "t", "bucket": "b"}).ok
    assert server.stop() == 0

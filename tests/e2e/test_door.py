"""Who is let in, how long one waits, what is said when there is nothing to say, and how it all ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import ledgers
from tests.e2e.client import Load, post
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, ROOT, Server


def ask(server: Server, requests: int) -> Load:
    """So many requests at once, all of which come to the gate."""
    load = Load(lambda: server.url, "/wait", [[{"n": number}] for number in range(requests)]).start()
    server.until_status(lambda status: status["pending"] == requests, f"{requests} pending requests")
    return load


def refusals(status: dict[str, Any]) -> int:
    return sum(process["counters"].get("refused", 0) for process in status["processes"])


def test_a_full_house_refuses_with_503_and_goes_on(gated: Callable[..., Server], gate: Path) -> None:
    server = gated("--pending-capacity", "5")
    inside = ask(server, 5)
    for _ in range(2):
        refused = post(server.url, "/wait", {"n": 9})
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.body["code"] == "overloaded"
    gate.touch()
    assert [exchange.body for exchange in inside.join()] == [{"n": number} for number in range(5)]
    assert post(server.url, "/wait", {"n": 6}).body == {"n": 6}
    server.until_status(lambda status: refusals(status) == 2, "two refusals")
    assert server.stop() == 0
    assert "6 answered, 0 timed out, 0 dropped" in server.output


def test_who_waits_at_the_door_gets_in_when_there_is_room(gated: Callable[..., Server], gate: Path) -> None:
    server = gated("--pending-capacity", "2", "--admission-wait-ms", "60000")
    inside = ask(server, 2)
    outside = Load(lambda: server.url, "/wait", [[{"n": 8}], [{"n": 9}]]).start()
    gate.touch()
    assert [exchange.body["n"] for exchange in (*inside.join(), *outside.join())] == [0, 1, 8, 9]
    assert server.stop() == 0


def test_too_late_is_504_and_the_place_is_free_only_when_the_work_is_done(
    gated: Callable[..., Server], gate: Path
) -> None:
    server = gated("--request-timeout-ms", "200", "--pending-capacity", "2")
    for exchange in ask(server, 2).join():
        assert exchange.status == 504
        assert exchange.body["code"] == "timeout"
    assert post(server.url, "/wait", {"n": 2}).status == 503, "both are still being worked on"
    gate.touch()
    server.until_status(lambda status: status["pending"] == 0, "the end of the work")
    # The first had been begun and its reply comes too late; the second expired before it was begun.
    assert (server.total("timed_out"), server.total("late_replies"), server.total("expired")) == (2, 1, 1)
    assert post(server.url, "/wait", {"n": 3}).body == {"n": 3}
    assert server.stop() == 0


def test_what_nothing_answers_is_204_at_once(gated: Callable[..., Server]) -> None:
    server = gated("--request-timeout-ms", "60000")
    answer = post(server.url, "/silent", {"n": 1})
    assert (answer.status, answer.body) == (204, b"")
    assert server.status()["pending"] == 0
    assert server.stop() == 0


def test_health(gated: Callable[..., Server]) -> None:
    server = gated()
    for path in ("/healthz", "/readyz"):
        assert httpx.get(server.url + path).json() == {"status": "ok"}
    assert httpx.get(server.url + "/nowhere").status_code == 404
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_come_to_its_end(
    gated: Callable[..., Server], gate: Path, number: signal.Signals
) -> None:
    server = gated("--shutdown-grace-ms", "60000")
    inside = ask(server, 3)
    server.process.send_signal(number)
    server.until("Stopping: no new requests, 3 in flight")
    gate.touch()
    assert [exchange.body for exchange in inside.join()] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert server.wait() == 0
    assert "3 answered, 0 timed out, 0 dropped" in server.output


def test_sigterm_under_load_leaves_nothing_to_redo(serve: Serve) -> None:
    server = serve(JOBS / "ledger.py", "--workers", "2", "--gateways", "2").start()
    load = Load(lambda: server.url, "/add", ledgers.chains(32)).start()
    for _ in range(2):
        load.until_done(300)
        assert server.stop() == 0
        since = server.mark()
        server.start()
        assert "power cuts, continued\n" in server.output[since:], "everything is in the tables"
    load.until_done(100)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} <= {0, 200}
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


# --- what is refused at the start -------------------------------------------------------------------------


def refused(server: Server, *options: str) -> tuple[int, str]:
    """The exit code of a start that must fail, and what it said, in few lines."""
    since = server.launch(*options)
    code = server.wait()
    said = re.sub(r"^.*  info   waiting for .*\n", "", server.output[since:], flags=re.MULTILINE)
    assert len(said.splitlines()) <= 8, said
    assert said.startswith("error: "), said
    return code, said


def test_a_folder_or_a_port_in_use_is_refused(serve: Serve, tmp_path: Path) -> None:
    job = "mini_flink.examples.running_total"
    server = serve(job, "--workers", "1", "--gateways", "1").start()
    pid = server.process.pid
    second = serve(job, "--data-dir", str(server.data_dir))
    code, said = refused(second)
    assert code == 75
    assert "in use by" in said
    assert f"(pid {pid})" in said
    third = serve(job)
    code, said = refused(third, "--port", server.url.rpartition(":")[2])
    assert code == 75
    assert "is in use by" in said
    assert post(server.url, "/total", {"key": "a", "amount": 1}).body == {"key": "a", "total": 1}
    assert server.stop() == 0


def changing(serve: Serve, *args: str) -> Server:
    return serve(JOBS / "changing.py", "--gateways", "1", args=args)


def restarted(server: Server, *args: str) -> tuple[int, str]:
    """A start of the same folder with another plan, which must be refused."""
    server.args = args
    return refused(server)


def add(server: Server, key: str) -> Any:
    return post(server.url, "/add", {"key": key}).body


def test_workers_stay_as_many_as_there_were_until_another_number_is_named(serve: Serve) -> None:
    server = changing(serve, "count", "n", "-").start("--workers", "3")
    assert add(server, "a") == 1
    assert server.stop() == 0
    for count, (options, workers) in enumerate([((), 3), (("--workers", "2"), 2), ((), 2)], start=2):
        server.start(*options)
        roles = [each["role"] for each in server.status()["processes"]]
        assert roles.count("worker") == workers
        assert add(server, "a") == count
        assert server.stop() == 0


def test_a_changed_plan_that_would_leave_state_behind_is_refused(serve: Serve) -> None:
    server = changing(serve, "count", "n", "-").start("--workers", "2")
    assert add(server, "a") == 1
    server.kill_all()
    server.clumsy = True
    for args in (("other", "n", "-"), ("count", "m", "-")):
        code, said = restarted(server, *args)
        assert code == 78
        assert "state 'n' of operator 'count'" in said
    server.args = ("count", "n", "new")
    server.start()
    assert add(server, "a") == 2, "a new stage behind it changes nothing"
    assert server.stop() == 0


def test_a_changed_plan_that_would_leave_records_behind_is_refused(serve: Serve) -> None:
    server = changing(serve, "count", "n", "gone").start("--workers", "2", "--hang-timeout-ms", "0")
    server.send(signal.SIGSTOP, "worker", 1)
    load = Load(lambda: server.url, "/add", [[{"key": f"k{number % 10}"}] for number in range(60)]).start()
    server.until_status(
        lambda status: status["processes"][1]["counters"]["outbox_records"] > 0, "records for worker 1"
    )
    server.kill_all()
    load.stop()
    server.clumsy = True
    code, said = restarted(server, "count", "n", "-")
    assert code == 78
    assert "'gone'" in said
    server.args = ("count", "n", "gone")
    server.start()
    assert server.stop() == 0


def test_a_job_that_dies_at_every_start_is_reported(serve: Serve) -> None:
    server = serve(JOBS / "stillborn.py", "--workers", "1", "--gateways", "1")
    server.clumsy = True
    server.launch()
    assert server.wait() == 78
    assert "error: worker 0 died 3 times in a row before it was ready: exit code 7" in server.output
    assert "Ready" not in server.output


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("nowhere.py", "no file nowhere.py"),
        ("tests/__init__.py", "builds no graph"),
    ],
)
def test_what_is_no_job_is_refused(serve: Serve, job: str, expected: str) -> None:
    code, said = refused(serve(job))
    assert code == 78
    assert expected in said


def test_process_durability_survives_kill_9(serve: Serve) -> None:
    server = serve(JOBS / "ledger.py", "--workers", "2", "--durability", "process").start()
    assert "survives kill -9, but no power cut" in server.output
    load = Load(lambda: server.url, "/add", ledgers.chains(16)).start()
    load.until_done(300)
    server.kill_all()
    server.start()
    load.until_done(100)
    exchanges = load.stop()
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


# --- what it shows ----------------------------------------------------------------------------------------


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command: Sequence[str | Path] = [sys.executable, "-m", "mini_flink", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_status_of_a_server_and_of_none(serve: Serve) -> None:
    server = serve("mini_flink.examples.running_total", "--workers", "2", "--gateways", "1").start()
    post(server.url, "/total", {"key": "a", "amount": 1})
    shown = run("status", "--data-dir", server.data_dir)
    assert shown.returncode == 0
    for name in ("supervisor", "worker", "gateway", str(server.process.pid), "total"):
        assert name in shown.stdout
    assert server.stop() == 0
    assert run("status", "--data-dir", server.data_dir).returncode == 69


BAD_REQUESTS = {
    "not JSON": (b"POST /total HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{", 400),
    "no object": (b"POST /total HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n7", 400),
    "two lengths": (
        b"POST /total HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        400,
    ),
    "another path": (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 404),
    "another method": (b"DELETE /total HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "an unfinished body": (b"POST /total HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", 408),
    "too large a body": (b"POST /total HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    "too many fields": (b"POST /total HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "no key": (b"POST /total HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 500),
}


def status_of(server: Server, request: bytes) -> int:
    """The status line's number, whatever the server then does with the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        return int(connection.recv(4096).split(b" ")[1])


def test_bad_requests_leave_nothing_behind(serve: Serve) -> None:
    server = serve("mini_flink.examples.running_total", "--gateways", "1", "--body-timeout-ms", "300").start()
    statuses = {name: status_of(server, request) for name, (request, _) in BAD_REQUESTS.items()}
    assert statuses == {name: status for name, (_, status) in BAD_REQUESTS.items()}
    assert post(server.url, "/total", {"key": "a", "amount": 2}).body == {"key": "a", "total": 2}
    server.until_status(lambda status: status["pending"] == 0, "an empty pending map")
    assert server.stop() == 0

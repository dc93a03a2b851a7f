"""A real server's admin process: what flows is seen, who dies is seen to return, no other site may ask."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mini_flink.admin.api import Api
from mini_flink.admin.watch import Watch
from mini_flink.folder import read_run
from mini_flink.spec import AdminSpec
from tests.e2e.server import JOBS, LIMIT_S, Server

WITH_PAGE = {"MINI_FLINK_ADMIN": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("admin"),
        JOBS / "failing.py",
        "--workers",
        "2",
        "--gateways",
        "1",
        environment=WITH_PAGE,
    )
    yield server.start()
    server.clean_up()


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    run = read_run(str(server.data_dir))
    assert run is not None
    with httpx.Client(base_url=run["admin_url"], timeout=20) as client:
        until(lambda: answers(client, "/healthz"), "the admin process answers")
        yield client


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)
    return found


def node(admin: httpx.Client, uid: str) -> dict[str, Any]:
    return next(each for each in admin.get("/api/v1/tick").json()["nodes"] if each["id"] == uid)


def test_what_flows_is_seen(server: Server, admin: httpx.Client) -> None:
    assert f"  Page    {admin.base_url}".rstrip("/") in server.output
    for number in range(20):
        httpx.post(f"{server.url}/total", json={"key": f"k{number}", "amount": 1}).raise_for_status()
    until(lambda: node(admin, "total")["in_total"] == 20, "20 records are seen")
    assert node(admin, "total")["out_total"] == 20
    plan = admin.get("/api/v1/plan")
    assert [edge["ship"] for edge in plan.json()["edges"]] == ["key_by", "chained"]
    assert admin.get("/api/v1/plan", headers={"if-none-match": plan.headers["etag"]}).status_code == 304
    [job] = admin.get("/jobs/overview").json()["jobs"]
    vertex = admin.get(f"/jobs/{job['jid']}/vertices/total").json()
    assert vertex["metrics"]["read-records"] == 20
    parts = until(lambda: admin.get("/api/v1/nodes/total").json()["subtasks"], "subtasks are measured")
    assert {part["part"] for part in parts} == {0, 1}
    text = admin.get("/metrics").text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {
        "mini_flink_operator_records_in",
        "mini_flink_request_seconds",
        "mini_flink_process_up",
    } <= families


def test_what_is_not_under_way_cannot_be_called_off(admin: httpx.Client) -> None:
    told = admin.post("/api/v1/ops", json={"kind": "cancel", "dry_run": True}).json()
    assert "everything goes back" in told["text"]
    begun = admin.post("/api/v1/ops", json={"kind": "cancel"}).json()
    over = until(lambda: ended(admin, begun["id"]), "it is refused")
    assert (over["state"], over["text"]) == ("failed", "nothing is being changed")


def test_a_savepoint_is_taken_and_logged_with_who_asked(server: Server, admin: httpx.Client) -> None:
    told = admin.post("/api/v1/ops", json={"kind": "savepoint", "dry_run": True}).json()
    assert "writes all state of 2 workers" in told["text"]
    assert "savepoint asked for" not in server.output
    key = {"idempotency-key": "once"}
    first, second = (admin.post("/api/v1/ops", json={"kind": "savepoint"}, headers=key) for _ in range(2))
    assert (first.status_code, second.json()["id"]) == (202, first.json()["id"])
    done = until(lambda: ended(admin, first.json()["id"]), "the savepoint is done")
    assert done["state"] == "done", done
    server.until(r"savepoint asked for by 127\.0\.0\.1")
    [job] = admin.get("/jobs/overview").json()["jobs"]
    trigger = admin.post(f"/jobs/{job['jid']}/savepoints").json()["request-id"]
    status = f"/jobs/{job['jid']}/savepoints/{trigger}"
    until(lambda: admin.get(status).json()["status"]["id"] == "COMPLETED", "Flink's way ends, too")
    listed = [each["id"] for each in admin.get("/api/v1/snapshots").json()["snapshots"]]
    assert done["result"]["id"] in listed
    reused = admin.post("/api/v1/ops", json={"kind": "resume"}, headers=key)
    assert (reused.status_code, reused.json()["code"]) == (409, "key-in-use")
    cancelling = admin.post(f"/jobs/{job['jid']}/savepoints", json={"cancel-job": True})
    assert (cancelling.status_code, cancelling.json()["code"]) == (400, "not-supported")
    outdated = {"kind": "rescale", "args": {"workers": 3}, "expect": {"plan_hash": "old"}}
    assert admin.post("/api/v1/ops", json=outdated).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind": []}',
        b'{"kind": {}}',
        b'{"kind": "savepoint", "expect": [1], "dry_run": true}',
        b'{"kind": "savepoint", "args": {"location": "\\ud800"}}',
        b"[" * 60_000,
        b"\xff",
    ],
)
def test_garbage_is_refused_and_not_a_bug(server: Server, admin: httpx.Client, body: bytes) -> None:
    answer = admin.post("/api/v1/ops", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "Traceback" not in server.output


def test_who_hangs_up_while_it_sends_is_no_event(server: Server, admin: httpx.Client) -> None:
    address = (str(admin.base_url.host), int(admin.base_url.port or 0))
    head = f"POST /api/v1/ops HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Length: 100\r\n\r\nx"
    with socket.create_connection(address, timeout=LIMIT_S) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert answers(admin, "/healthz")
    assert "Traceback" not in server.output


def ended(admin: httpx.Client, id: str) -> dict[str, Any] | None:
    operation: dict[str, Any] = admin.get(f"/api/v1/ops/{id}").json()
    return operation if operation["state"] in ("done", "failed") else None


def test_a_worker_that_dies_is_seen_and_seen_to_return(server: Server, admin: httpx.Client) -> None:
    since = server.kill("worker", 0)
    server.until_back("worker", 0, since)

    def worker() -> dict[str, Any]:
        found: dict[str, Any] = next(p for p in admin.get("/api/v1/tick").json()["procs"] if p["id"] == "w0")
        return found

    until(lambda: (worker()["restarts_1h"], worker()["state"]) == (1, "restarted"), "it is back")
    assert worker()["last_exit"] == "SIGKILL"
    kinds = [event["kind"] for event in admin.get("/api/v1/events").json()["events"]]
    assert kinds.index("back") < kinds.index("died"), "newest first"


def test_a_failing_operator_is_named(server: Server, admin: httpx.Client) -> None:
    httpx.post(f"{server.url}/total", json={"key": "a", "amount": 1, "do": "raise"})
    verdict = until(
        lambda: (found := admin.get("/api/v1/tick").json()["verdict"])["code"] == "FAILING" and found,
        "it is said",
    )
    assert verdict["node"] == "total"


def test_the_stream_goes_on_where_it_was_left(admin: httpx.Client) -> None:
    with admin.stream("GET", "/api/v1/stream") as stream:
        frames = read_frames(stream)
        kinds = [next(frames) for _ in range(3)]
    assert [kind for kind, _, _ in kinds][:2] == ["hello", "tick"]
    last_id, last = kinds[1][1], kinds[1][2]
    with admin.stream("GET", "/api/v1/stream", headers={"last-event-id": last_id}) as stream:
        kind, _, data = next(frame for frame in read_frames(stream) if frame[0])
    assert (kind, data["seq"]) == ("tick", last["seq"] + 1)


def read_frames(stream: httpx.Response) -> Iterator[tuple[str, str, dict[str, Any]]]:
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


def test_no_route_is_open_to_other_sites_and_no_look_changes_anything(admin: httpx.Client) -> None:
    spec = AdminSpec("job", "", "", "127.0.0.1", 7072, "", "", "", "text", -1, -1)
    for entry in Api(spec, Watch("")).routes:
        path = entry.path.replace("{", "").replace("}", "").replace(":path", "")
        foreign = admin.request(entry.method, path, headers={"host": "evil.example"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign-host"), path
        if entry.method == "POST":
            crossed = admin.post(path, headers={"origin": "http://evil.example"})
            assert crossed.status_code == 403, path
            assert admin.get(path).status_code in (200, 405), path
    shown = admin.get("/jobs/overview", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in shown.headers
    paths = admin.get("/api/v1/openapi.json").json()["paths"]
    assert "post" in paths["/api/v1/ops"]
    assert "get" in paths["/jobs/{jid}/vertices/{vid}/backpressure"]
    assert "default-src 'none'" in admin.get("/").headers["content-security-policy"]


def test_who_knows_flink_finds_the_same(admin: httpx.Client) -> None:
    [job] = admin.get("/jobs").json()["jobs"]
    assert job["status"] == "RUNNING"
    at = f"/jobs/{job['id']}"
    assert admin.get("/overview").json()["taskmanagers"] == 2
    assert admin.get("/config").json()["refresh-interval"] == 1000
    assert [node["id"] for node in admin.get(f"{at}/plan").json()["plan"]["nodes"]][1] == "total"
    names = {"0.numRecordsIn", "1.numRecordsIn", "0.busyTimeMsPerSecond"}
    until(
        lambda: names <= {each["id"] for each in admin.get(f"{at}/vertices/total/metrics").json()}, "metrics"
    )
    [one] = admin.get(f"{at}/vertices/total/metrics", params={"get": "0.numRecordsIn"}).json()
    assert set(one) == {"id", "value"}
    [summed] = admin.get(
        f"{at}/vertices/total/subtasks/metrics", params={"get": "numRecordsIn", "agg": "sum,max"}
    ).json()
    assert set(summed) == {"id", "sum", "max"}
    assert summed["sum"] >= summed["max"] >= float(one["value"])
    history = admin.get(f"{at}/exceptions").json()["exceptionHistory"]
    assert [(entry["exceptionName"], entry["taskName"]) for entry in history["entries"]] == [
        ("ValueError", "total")
    ]
    assert "on purpose" in history["entries"][0]["stacktrace"]
    for wrong in (f"{at}/exceptions?maxExceptions=x", f"{at}/vertices/total/subtasks/metrics?agg=median"):
        assert admin.get(wrong).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/jobs/x/savepoints", "POST"),
        ("POST", "/api/v1/tick", "GET, HEAD"),
        ("DELETE", "/api/v1/ops", "GET, HEAD, POST"),
        ("PUT", "/", "GET, HEAD"),
        ("GET", "/nowhere", None),
        ("GET", "/static/nothing.js", None),
    ],
)
def test_what_is_not_there_is_said_as_a_problem(
    admin: httpx.Client, method: str, path: str, allowed: str | None
) -> None:
    answer = admin.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (405 if allowed else 404, allowed)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == ("method-not-allowed" if allowed else "not-found")


def test_the_service_does_not_notice_the_death_of_the_admin_process(
    server: Server, admin: httpx.Client
) -> None:
    before = server.of("admin")
    os.kill(before["pid"], signal.SIGKILL)
    httpx.post(f"{server.url}/total", json={"key": "a", "amount": 1}).raise_for_status()
    server.until_status(
        lambda status: any(
            each["role"] == "admin" and each["pid"] not in (None, before["pid"])
            for each in status["processes"]
        ),
        "it is started again",
    )
    until(lambda: answers(admin, "/healthz"), "it answers again")
    assert server.status()["state"] == "serving"


def test_a_port_that_was_asked_for_is_refused_and_the_default_falls_to_a_free_one(
    server: Server, admin: httpx.Client, tmp_path: Path
) -> None:
    taken = str(admin.base_url.port)
    second = Server(tmp_path, JOBS / "failing.py", "--workers", "1", "--gateways", "1", environment=WITH_PAGE)
    try:
        since = second.launch("--admin-port", taken)
        assert second.refuses(since)
        assert f"port {taken} is in use by" in second.output
        assert "--admin-port" in second.output
        since = second.launch("--admin-host", "0.0.0.0")
        assert second.refuses(since)
        assert "--admin-token-file" in second.output
        with socket.socket() as holder:
            # Whoever has it, or we: the default port is taken now.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if holder.connect_ex(("127.0.0.1", 7072)):
                holder.bind(("127.0.0.1", 7072))
                holder.listen()
            second.start()
        page = second.until(r"  Page    http://127\.0\.0\.1:(\d+)", since)
        assert page[1] != "7072"
        assert second.stop() == 0
    finally:
        second.clean_up()

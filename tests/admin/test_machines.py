"""What is made of readings: pictures, ticks, verdicts, histories. No process, no clock."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from mini_flink.admin import api as api_module
from mini_flink.admin import flink
from mini_flink.admin.api import Api
from mini_flink.admin.drawing import draw
from mini_flink.admin.exposition import HELP, expose
from mini_flink.admin.feed import RING, WAITING, Feed
from mini_flink.admin.guard import Guard, Refusal, policy
from mini_flink.admin.histograms import difference, merge, percentile
from mini_flink.admin.history import History
from mini_flink.admin.openapi import Entry, describe
from mini_flink.admin.operations import QUESTIONS, Operation, checked
from mini_flink.admin.sampling import WORKER_CLOCK, subtasks_of, tick
from mini_flink.admin.watch import Known, Watch
from mini_flink.errors import UsageError
from mini_flink.metrics import ONE, SECONDS, Publisher, Registry, Sample, read_metrics
from mini_flink.progress import COUNTERS_OF
from mini_flink.spec import AdminSpec
from mini_flink.supervisor.changeover import goal_of
from tests.admin.facts import BUSY, counter, gauge, reading, status

DRAWING = draw(status(), "0")
LOADED = {
    "w0": [
        counter(BUSY, 1.0, operator="total", subtask="0"),
        counter("mini_flink_worker_busy_seconds_total", 1.0),
        gauge("mini_flink_stage_queue_records", 30, operator="total"),
    ],
    "w1": [counter(BUSY, 1.0, operator="total", subtask="1")],
}


def later(busy: float, queue: int) -> dict[str, list[Sample]]:
    return {
        "w0": [
            counter(BUSY, 1.0 + busy, operator="total", subtask="0"),
            counter("mini_flink_worker_busy_seconds_total", 1.0 + busy),
            gauge("mini_flink_stage_queue_records", queue, operator="total"),
        ],
        "w1": [counter(BUSY, 1.2, operator="total", subtask="1")],
    }


def test_the_picture_says_where_each_node_runs_and_how_records_get_there() -> None:
    nodes = {node["id"]: node for node in DRAWING.public["nodes"]}
    assert nodes["in"]["in_gateway"]
    assert (nodes["reply"]["stage"], nodes["reply"]["parallelism"]) == ("total", 2)
    assert [(edge["id"], edge["ship"], edge["key"]) for edge in DRAWING.public["edges"]] == [
        ("in->total", "key_by", "user_id"),
        ("total->reply", "chained", None),
    ]
    assert (nodes["total"]["location"], nodes["reply"]["location"]) == ("job.py:18", None)
    rescaled = status()
    rescaled["plan"]["workers"] = 3
    assert draw(rescaled, "0").hash != DRAWING.hash == draw(status(), "0").hash


def test_a_tick_is_the_difference_of_two_readings() -> None:
    before = reading(10.0, LOADED, requests=5, received=5)
    one = tick(before, reading(12.0, later(1.0, 50), requests=25, received=25), DRAWING, 7)
    total = next(node for node in one["nodes"] if node["id"] == "total")
    assert (one["seq"], one["dt_ms"], one["http"]["rps"], one["http"]["inflight"]) == (7, 2000, 10.0, 0)
    assert (total["in"], total["queue"], total["worst"]) == (10.0, 50, {"part": 0, "busy": 0.5})
    assert total["busy"] == pytest.approx(0.3)
    assert total["skew"] == pytest.approx(1.67)
    assert total["blocked"] is None
    worker = next(process for process in one["procs"] if process["id"] == "w0")
    assert (worker["cpu"], worker["busy"]) == (1.0, 0.5)


@pytest.mark.parametrize(("restarts", "shown"), [(1, 1), (0, 0)])
def test_a_process_of_a_new_generation_has_not_died_the_deaths_of_the_last(restarts: int, shown: int) -> None:
    death = {"ts": 9_000, "kind": "died", "process": "w0"}
    one = tick(None, reading(10.0, restarts=restarts, events=[death]), DRAWING, 1)
    worker = next(process for process in one["procs"] if process["id"] == "w0")
    assert [worker[name] for name in ("restarts", "restarts_10m", "restarts_1h")] == [restarts, shown, shown]


def test_what_is_not_known_is_not_zero() -> None:
    one = tick(None, reading(10.0), DRAWING, 1)
    total = next(node for node in one["nodes"] if node["id"] == "total")
    assert [total[name] for name in ("in", "busy", "queue", "p99_us", "skew")] == [None] * 5
    assert one["http"]["rps"] is None


def test_a_process_that_was_started_again_makes_no_negative_rate() -> None:
    before = reading(10.0, LOADED, requests=50, received=9)
    one = tick(before, reading(11.0, later(-0.9, 0), requests=3, received=2), DRAWING, 2)
    assert one["http"]["rps"] == 3.0
    total = next(node for node in one["nodes"] if node["id"] == "total")
    assert total["in"] == 2.0
    assert [
        part["busy"] for part in subtasks_of(reading(10.0, LOADED), reading(11.0, later(-0.9, 0)), "total")
    ] == [
        0.1,
        0.2,
    ]


@pytest.mark.parametrize(
    ("now", "before", "grown"),
    [
        ([(1.0, 3), (2.0, 5)], [(1.0, 1), (2.0, 5)], [(1.0, 2), (2.0, 0)]),
        ([(1.0, 3)], None, [(1.0, 3)]),
        ([(1.0, 3), (2.0, 0)], [(1.0, 1), (2.0, 5)], [(1.0, 3), (2.0, 0)]),
    ],
)
def test_histograms_are_told_apart_by_difference(now: Any, before: Any, grown: Any) -> None:
    assert difference(now, before) == grown


def test_percentiles_are_those_of_all_processes_together() -> None:
    merged = merge([[(1.0, 90), (2.0, 0)], [(1.0, 0), (2.0, 10)]])
    assert merged == [(1.0, 90), (2.0, 10)]
    assert percentile(merged, 0.9) == 1.0
    assert percentile(merged, 0.95) == pytest.approx(1.5)
    assert percentile([], 0.5) is None
    assert percentile([(1.0, 0), (float("inf"), 1)], 0.99) == 1.0


def test_history_is_fine_for_a_while_and_coarse_for_a_day() -> None:
    history = History()
    for second in range(2000):
        history.add(
            second * 1000, {"http.rps": float(second % 60), "http.p99_us": None if second < 60 else second}
        )
    fine = history.series(["http.rps", "unknown"], 900, 1_999_000)
    assert len(fine["http.rps"]) == 900
    assert fine["unknown"][0][1] is None
    coarse = history.series(["http.rps", "http.p99_us"], 86_400, 1_999_000)
    assert len(coarse["http.rps"]) == 33
    assert coarse["http.rps"][0] == [0, 29.5]
    assert coarse["http.p99_us"][:2] == [[0, None], [60_000, 119]]


def test_who_comes_back_gets_what_was_missed_and_the_slow_get_the_newest() -> None:
    feed = Feed(lambda: {"schema": 1})
    for number in range(3):
        feed.send("tick", {"seq": number})
    first = feed.open("")
    frames = b"".join(first._frames).decode()
    assert "event: hello" in frames
    last_id = frames.split("id: ")[1].split("\n")[0]
    for number in range(3, 3 + 2 * WAITING):
        feed.send("tick", {"seq": number})
    assert [b'"seq":%d}' % number in first._frames[-1] for number in (2 + 2 * WAITING,)] == [True]
    assert len(first._frames) == WAITING
    again = b"".join(feed.open(last_id)._frames).decode()
    assert "hello" not in again
    assert again.count("event: tick") == 2 * WAITING
    for number in range(RING + 1):
        feed.send("tick", {"seq": number})
    assert "event: hello" in b"".join(feed.open(last_id)._frames).decode()


SPEC = AdminSpec("job", "", "", "127.0.0.1", 7072, "", "", "", "text", -1, -1)
HOST = {"host": "127.0.0.1:7072"}


async def nothing(*_: Any) -> None:
    """The application behind a guard that is only asked."""


@pytest.mark.parametrize(
    ("method", "headers", "status_code"),
    [
        ("GET", HOST, 0),
        ("GET", {"host": "localhost:7072"}, 0),
        ("GET", {"host": "[::1]:7072"}, 0),
        ("GET", {"host": "evil.example:7072"}, 403),
        ("GET", {"host": "127.0.0.1:80"}, 403),
        ("GET", {"host": "127.0.0.1"}, 403),
        ("GET", {}, 403),
        ("POST", HOST, 0),
        ("POST", {**HOST, "origin": "http://127.0.0.1:7072"}, 0),
        ("POST", {**HOST, "origin": "http://localhost:7072"}, 403),
        ("DELETE", {**HOST, "origin": "http://evil.example"}, 403),
        ("PUT", {**HOST, "origin": "null"}, 403),
        ("POST", {**HOST, "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_only_this_host_and_its_own_page_may_ask(
    method: str, headers: dict[str, str], status_code: int
) -> None:
    guard = Guard(nothing, SPEC)
    if not status_code:
        guard.check(method, "/api/v1/ops", headers)
        return
    with pytest.raises(Refusal) as refused:
        guard.check(method, "/api/v1/ops", headers)
    assert refused.value.status == status_code


def test_a_token_is_wanted_for_all_but_the_page() -> None:
    token = "0123456789abcdef"
    guard = Guard(nothing, AdminSpec("job", "", "", "0.0.0.0", 7072, token, "", "", "text", -1, -1))
    host = {"host": "192.0.2.7:7072"}
    guard.check("GET", "/", host)
    guard.check("GET", "/static/main.js", host)
    guard.check("GET", "/api/v1/tick", {**host, "authorization": f"Bearer {token}"})
    for headers in ({}, {"authorization": "Bearer 0123456789abcdeX"}, {"cookie": "mini_flink_admin="}):
        with pytest.raises(Refusal) as refused:
            guard.check("GET", "/api/v1/tick", {**host, **headers})
        assert refused.value.status == 401


def test_the_policy_lets_in_what_stands_in_the_page_and_no_more() -> None:
    assert "'sha256-" in policy('<script type="importmap">{}</script>')
    assert "unsafe" not in policy("")
    assert "sha256" not in policy("<script>alert()</script>")


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("explode", {}),
        ("rescale", {}),
        ("rescale", {"workers": 0}),
        ("rescale", {"workers": True}),
        ("rescale", {"workers": 129}),
        ("rescale", {"parallelisms": {"total": True}}),
        ("rescale", {"parallelisms": {"total": "abc"}}),
        ("rescale", {"parallelisms": {"total": 1.5}}),
        ("rescale", {"parallelisms": {"total": 0}}),
        ("rescale", {"parallelisms": {"total": 129}}),
        ("rescale", {"parallelisms": {"nobody": 2}}),
        ([], {}),
        ({}, {}),
        ("dlq_retry", {"ids": [1, {"a": 2}]}),
        ("savepoint", {"what": "cancel"}),
        ("savepoint", []),
        ("dlq_drop", {}),
        ("drain", {}),
        ("drain", {"job": "another"}),
        ("resume", {"job": "shop"}),
    ],
)
def test_an_operation_that_makes_no_sense_is_refused(kind: Any, args: Any) -> None:
    with pytest.raises(Refusal):
        checked(kind, args, DRAWING.public)


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("drain", {"job": "totals"}),
        ("rescale", {"workers": 128, "parallelisms": {"total": 128}}),
        ("dlq_drop", {"ids": ["0-1-a"]}),
    ],
)
def test_an_operation_that_makes_sense_is_as_it_was_asked(kind: str, args: Any) -> None:
    assert checked(kind, args, DRAWING.public) == (kind, args)


@pytest.mark.parametrize("workers", [0, 129, True, 1.5])
def test_the_server_takes_no_number_of_workers_that_the_command_line_refuses(workers: Any) -> None:
    with pytest.raises(UsageError):
        goal_of({"what": "rescale", "workers": workers})


@pytest.mark.parametrize("number", [0, True, 1.5, "abc"])
def test_the_server_takes_no_parallelism_that_is_none(number: Any) -> None:
    with pytest.raises(UsageError):
        goal_of({"what": "rescale", "parallelisms": {"total": number}})


def test_a_bug_is_an_answer_and_one_event(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(_: Request) -> Response:
        raise ZeroDivisionError("on purpose")

    async def story() -> httpx.Response:
        api = Api(AdminSpec("job", "", "", "127.0.0.1", 7072, "", "", "", "text", -1, -1), Watch(""))
        api.routes = [Entry("GET", "/broken", broken, "")]
        transport = httpx.ASGITransport(api.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7072") as client:
            return await client.get("/broken")

    answer = asyncio.run(story())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    said = capsys.readouterr().err
    assert said.count("GET /broken failed") == 1
    assert "ZeroDivisionError: on purpose" in said


def test_the_description_of_the_api_says_what_is_to_be_sent_and_what_comes() -> None:
    spec = AdminSpec("job", "", "", "127.0.0.1", 7072, "t", "", "", "text", -1, -1)
    told = describe(Api(spec, Watch("")).routes, has_token=True)
    assert told["security"] == [{"token": []}]
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    begin = told["paths"]["/api/v1/ops"]["post"]
    schema = begin["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"kind", "args", "expect", "dry_run"}
    assert schema["properties"]["kind"]["enum"] == [*QUESTIONS]
    rescale = next(each for each in schema["oneOf"] if each["properties"]["kind"]["const"] == "rescale")
    arguments = rescale["properties"]["args"]["properties"]
    assert arguments == {"workers": {"type": ["integer", "null"]}, "parallelisms": {"type": ["object"]}}
    assert begin["parameters"][0]["name"] == "idempotency-key"
    assert begin["responses"].keys() == {"200", "202", "default"}
    for path, name, place in (
        ("/api/v1/keys/{node}", "node", "path"),
        ("/api/v1/keys/{node}", "limit", "query"),
        ("/api/v1/history", "range", "query"),
        ("/api/v1/deadletters", "cursor", "query"),
    ):
        found = {(each["name"], each["in"]) for each in told["paths"][path]["get"]["parameters"]}
        assert (name, place) in found
    assert [*told["paths"]["/metrics"]["get"]["responses"]["200"]["content"]] == ["text/plain"]
    assert told["paths"]["/healthz"]["get"]["security"] == []
    read = set(re.findall(r"(?:asked|given|query_params)\.get\(\"(\w+)\"", inspect.getsource(api_module)))
    named = {name for entry in Api(spec, Watch("")).routes for name in entry.query}
    assert read <= named


def test_a_supervisor_that_answers_no_more_is_not_said_to_be_well() -> None:
    async def story() -> tuple[Any, Any]:
        watch = Watch("")
        old = reading(time.monotonic() - 7, received=5)
        watch.known = Known(DRAWING, old, {**tick(None, old, DRAWING, 1), "verdict": {"code": "IDLE"}})
        api = Api(AdminSpec("totals", "", "", "127.0.0.1", 7072, "", "", "", "text", -1, -1), watch)
        transport = httpx.ASGITransport(api.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7072") as client:
            return (await client.get("/api/v1/tick")).json(), (await client.get("/jobs/overview")).json()

    now, overview = asyncio.run(story())
    assert now["stale_s"] >= 7
    assert (now["state"], now["verdict"]["level"], now["verdict"]["code"]) == (
        "unknown",
        "unknown",
        "UNKNOWN",
    )
    assert [job["state"] for job in overview["jobs"]] == ["RECONCILING"]


def test_no_password_of_a_location_is_shown() -> None:
    operation = Operation("1", "savepoint", {"location": "ftp://u:pw@h/x?sig=y"}, "me", 0)
    assert operation.public()["args"] == {"location": "ftp://h/x"}
    assert operation.args["location"] == "ftp://u:pw@h/x?sig=y", "what the store is opened with"


def test_prometheus_reads_what_is_exposed() -> None:
    low, high = 0.000896, 0.014336
    buckets = [(low, 2), (0.01, 2), (high, 1), (float("inf"), 1)]
    metrics = {
        "g0": [
            Sample("mini_flink_request_seconds", "histogram", {"route": 'POST /"x"'}, 0.5, buckets, "latency")
        ],
        "w0": [*LOADED["w0"], gauge("mini_flink_user_depth", 3, operator="total", subtask="0")],
    }
    text = expose(reading(10.0, metrics, requests=7, received=4), 1).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.documentation for family in families.values())
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    route = (("process", "g0"), ("route", 'POST /"x"'))
    assert samples[("mini_flink_request_seconds_count", route)] == 6
    assert samples[("mini_flink_request_seconds_bucket", (("le", repr(high)), *route))] == 5
    assert samples[("mini_flink_gateway_requests_total", (("process", "g0"),))] == 7
    assert samples[("mini_flink_operator_records_in_total", (("operator", "total"),))] == 4
    assert families["mini_flink_worker_dead_letters"].type == "counter"


@pytest.mark.parametrize("unit", [SECONDS, ONE])
def test_few_buckets_are_exposed_and_their_counts_are_exact(tmp_path: Path, unit: float) -> None:
    registry, path = Registry(), str(tmp_path / "metrics")
    values = [0, 1, 50, 700, 999, 1000, 60_000, 230_000, 917_503, 1_000_000, 10_000_000, 300_000_000]
    histogram = registry.histogram("mini_flink_some", {}, "some", unit=unit)
    for value in values:
        histogram.observe(value)
    Publisher(path, registry).publish()
    clock = gauge(WORKER_CLOCK, 12345.0)
    text = expose(reading(10.0, {"w0": [*read_metrics(path), clock]}), 0).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert WORKER_CLOCK not in families, "the time of boot is no metric"
    buckets = {
        float(each.labels["le"]): each.value
        for each in families["mini_flink_some"].samples
        if each.name.endswith("_bucket")
    }
    assert len(buckets) == 20
    for bound, count in buckets.items():
        below = [value for value in values if (value < bound * 1e6 if unit == SECONDS else value <= bound)]
        assert count == len(below), bound
    if unit == SECONDS:
        assert {0.229376, 0.917504} < buckets.keys(), "alerts ask for a quarter of a second and for one"


def test_each_counter_of_a_process_says_what_it_counts() -> None:
    assert {role: set(texts) for role, texts in HELP.items()} == {
        role: set(names) for role, names in COUNTERS_OF.items()
    }


def test_flink_shows_the_same() -> None:
    one = tick(reading(10.0, received=3), reading(11.0, received=5), DRAWING, 1)
    job = flink.job(one, DRAWING.public)
    assert job["state"] == "RUNNING"
    assert [vertex["id"] for vertex in job["vertices"]] == ["in", "total", "reply"]
    assert flink.vertex(one, DRAWING.public, "total")["metrics"]["read-records"] == 5
    assert flink.back_pressure(one, "total")["backpressureLevel"] == "ok"
    assert flink.trigger({"state": "running"})["status"]["id"] == "IN_PROGRESS"

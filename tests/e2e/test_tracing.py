"""Traces of real processes, as a collector gets them by OTLP over HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server
from tests.tracing.collector import Collector, Told

JOB = JOBS / "traced.py"
FEW = ("--workers", "2", "--gateways", "1")
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
ONE_TRACE = "POST /pay", "check", "commit", "total", "commit"
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        with open(os.environ["IMPORTS"], "a") as log:
            log.write(f"{os.getpid()} {name}\\n")

sys.meta_path.insert(0, Watch())
"""
ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def pay(server: Server, headers: dict[str, str] | None = None, **value: Any) -> httpx.Response:
    """For worker 0, then for worker 1."""
    value = {"account": "a", "shop": "y", **value}
    return httpx.post(f"{server.url}/pay", json=value, headers=headers, timeout=60)


def trace_of(response: httpx.Response) -> str:
    return response.headers["traceresponse"].split("-")[1]


def whole(spans: list[Told]) -> bool:
    return sorted(span.name for span in spans) == sorted(ONE_TRACE)


def started(serve: Serve, collector: Collector, ratio: str = "1", *options: str, **more: Any) -> Server:
    where = "--trace-ratio", ratio, "--trace-endpoint", collector.url
    environment = {**SOON, **more.pop("environment", {})}
    return serve(JOB, *FEW, *where, *options, environment=environment, **more).start()


def within(inner: Told, outer: Told) -> bool:
    return outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns


def test_the_tree_of_a_request(serve: Serve, collector: Collector) -> None:
    server = started(serve, collector)
    response = pay(server)
    request, check, *_ = spans = collector.until(whole, trace_of(response))
    by_parent = {(span.parent, span.name): span for span in spans}
    assert request.name == "POST /pay"
    assert check is by_parent[request.id, "check"]
    total = by_parent[check.id, "total"]
    commits = by_parent[check.id, "commit"], by_parent[total.id, "commit"]
    assert response.headers["traceresponse"].split("-")[1:3] == [request.trace, request.id]
    # Where they ran, and when.
    assert [span.process for span in (request, check, commits[0], total, commits[1])] == [
        "g0", "w0", "w0", "w1", "w1",
    ]  # fmt: skip
    assert all(within(span, request) for span in (check, total, *commits))
    assert check.end_ns <= commits[0].start_ns
    assert commits[0].end_ns <= total.start_ns
    assert total.end_ns <= commits[1].start_ns
    # What is said of them.
    assert (request.kind, check.kind, commits[0].kind) == ("SERVER", "CONSUMER", "INTERNAL")
    assert {span.resource["service.name"] for span in spans} == {"traced"}
    assert (
        request.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.route": "/pay",
            "url.path": "/pay",
            "http.response.status_code": 200,
        }.items()
    )
    requests = {span.attributes["mini_flink.request_id"] for span in (request, check, total)}
    assert len(requests) == 1
    assert check.attributes["mini_flink.operators"] == ["check"]
    assert total.attributes["mini_flink.operators"] == ["total", "answer"]
    assert check.attributes["mini_flink.queue_wait_ms"] >= 0
    assert {"mini_flink.subtask", "mini_flink.key_group"} <= check.attributes.keys()
    assert commits[0].attributes["mini_flink.records"] == 1
    assert commits[0].attributes["mini_flink.bytes"] > 0
    assert not any(span.is_error for span in spans)


def test_what_comes_along_goes_on_and_comes_back(serve: Serve, collector: Collector) -> None:
    server = started(serve, collector, "0.000001")
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    unheard = pay(server, {"traceparent": f"00-{trace}-{span}-00"})
    garbage = pay(server, {"traceparent": f"00-{trace}-{span}"})
    assert "traceresponse" not in {**unheard.headers, **garbage.headers}
    heard = pay(server, {"traceparent": f"00-{trace}-{span}-01", "tracestate": "vendor=7"}, do="span")
    assert heard.headers["traceresponse"].startswith(f"00-{trace}-")
    names = sorted((*ONE_TRACE, "look up"))
    spans = collector.until(lambda found: sorted(each.name for each in found) == names)
    assert {each.trace for each in spans} == {trace}
    assert {each.state for each in spans} == {"vendor=7"}
    by_name = {each.name: each for each in spans}
    assert by_name["POST /pay"].parent == span
    # What the user's code starts is part of it; the unheard one began no trace of its own.
    assert by_name["look up"].parent == by_name["check"].id
    assert within(by_name["look up"], by_name["check"])
    passed_on = {"traceparent": f"00-{trace}-{by_name['look up'].id}-01", "tracestate": "vendor=7"}
    assert heard.json()["headers"] == passed_on
    pay(server, do="span")
    assert server.stop() == 0
    assert len(collector.spans) == len(names)


def test_failures_are_marked_and_the_log_names_the_trace(serve: Serve, collector: Collector) -> None:
    server = serve(
        JOB, *FEW, "--log", "json", "--trace-ratio", "1",
        environment={**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "shop"},
    )  # fmt: skip
    server.launch()
    server.url = server.until(r'"event": "server.ready".*"url": "([^"]+)"')[1]
    server.status()
    response = pay(server, account="a secret", do="raise")
    assert response.status_code == 500
    spans = collector.named(trace_of(response), "POST /pay", "check", "commit")
    check, request = spans["check"], spans["POST /pay"]
    assert (check.is_error, request.is_error, spans["commit"].is_error) == (True, True, False)
    assert request.attributes["http.response.status_code"] == 500
    ((name, told),) = check.events
    assert (name, told["exception.type"]) == ("exception", "ValueError")
    assert "traced.py" in told["exception.stacktrace"]
    assert check.attributes["mini_flink.error_id"] == response.json()["error_id"]
    assert "a secret" not in repr(collector.spans)
    assert check.resource["service.name"] == "shop"
    unrouted = pay(server, do="badly routed")
    request = collector.named(trace_of(unrouted), "POST /pay")["POST /pay"]
    assert [told["exception.type"] for _, told in request.events] == ["LookupError"]
    server.stop()
    failed = [json.loads(line) for line in server.output.splitlines() if "record.failed" in line]
    assert [entry["trace_id"] for entry in failed] == [check.trace, request.trace]


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_a_worker_killed_in_the_middle(
    serve: Serve, collector: Collector, tmp_path: Path, durability: str
) -> None:
    """The gateway sends record and context again: the trace is whole, but for what died with the worker."""
    server = started(serve, collector, "1", "--durability", durability)
    response = pay(server, do="die once", mark=str(tmp_path / "died"))
    assert response.status_code == 200
    assert (tmp_path / "died").exists()
    spans = collector.until(whole, trace_of(response))
    assert [span.resource["service.instance.id"] for span in spans if span.name == "check"] == ["w0.2"]


def test_a_worker_killed_under_load_costs_no_answer(serve: Serve, collector: Collector) -> None:
    server = started(serve, collector)
    with httpx.Client(timeout=60) as client:
        for number in range(60):
            if number == 20:
                since = server.kill("worker", 1)
            value = {"account": f"a{number % 7}", "shop": f"s{number % 5}"}
            assert client.post(f"{server.url}/pay", json=value).status_code == 200
    server.until_back("worker", 1, since)
    assert server.stop() == 0
    # What ended before the end has been handed over.
    assert sum(span.name == "POST /pay" for span in collector.spans) == 60


def test_a_collector_that_is_not_there(serve: Serve) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        environment = {**SOON, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        options = ("--workers", "1", "--gateways", "1", "--trace-ratio", "1", "--trace-endpoint", url)
        server = serve(JOB, *options, environment=environment).start()
        assert pay(server).status_code == 200
        for who in ("worker 0", "gateway 0"):
            where = rf"did not reach the collector at {re.escape(url)}: .*[^.]\. Requests"
            server.until(rf"warn   {who}: \d+ spans or more {where}")
        for _ in range(100):
            assert pay(server).status_code == 200
        assert server.stop() == 0
        assert server.output.count("did not reach the collector") == 2
        assert "Traceback" not in server.output
        assert "Transient" not in server.output.replace(f"{url}: Transient", "")


def watched(tmp_path: Path, source: str) -> dict[str, str]:
    """Variables by which each process runs ``source`` before anything else."""
    (tmp_path / "sitecustomize.py").write_text(source)
    return {
        "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
        "IMPORTS": str(tmp_path / "imports"),
    }


def test_off_nothing_of_it_is_loaded_in_any_process(serve: Serve, tmp_path: Path) -> None:
    environment = {**watched(tmp_path, WATCH), "MINI_FLINK_ADMIN": "true", "MINI_FLINK_ADMIN_PORT": "0"}
    server = serve(JOB, *FEW, environment=environment).start()
    assert pay(server, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}).headers.get("traceresponse") is None
    pids = {str(server.process.pid), *(str(each["pid"]) for each in server.status()["processes"])}
    server.kill("worker", 0)
    pay(server)
    assert server.stop() == 0
    imports = [line.split() for line in (tmp_path / "imports").read_text().splitlines()]
    assert pids <= {pid for pid, _ in imports}, "every process was watched"
    assert len({pid for pid, name in imports if name.startswith("mini_flink.")}) >= 5
    tops = {name.split(".")[0] for _, name in imports}
    assert "zmq" in tops
    assert tops & {"opentelemetry", "google", "requests"} == set()


def test_without_the_package_it_does_not_start(serve: Serve, tmp_path: Path) -> None:
    server = serve(JOB, *FEW, environment=watched(tmp_path, ABSENT))
    assert server.refuses(server.launch("--trace-ratio", "0.1"))
    assert "trace_ratio = 0.1 (from --trace-ratio) needs OpenTelemetry" in server.output
    assert "pip install 'mini-flink[tracing]'" in server.output
    server.start()
    assert pay(server).status_code == 200


def test_an_endpoint_that_is_none(serve: Serve) -> None:
    server = serve(JOB, *FEW)
    assert server.refuses(server.launch("--trace-ratio", "1", "--trace-endpoint", "collector:4317"))
    assert "trace_endpoint = 'collector:4317' (from --trace-endpoint) is no HTTP address" in server.output

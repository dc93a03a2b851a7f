"""Every query of the dashboard and every alert asks for what a server under load really publishes."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mini_flink.monitoring import dashboard, files
from tests.docs.terminal import free_port
from tests.e2e.client import post_all
from tests.e2e.server import LIMIT_S, Server
from tests.monitoring.test_files import rules

JOB = Path(__file__).with_name("watched.py")
PROMETHEUS = shutil.which("prometheus")
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds by itself, and that of a histogram's buckets."""
LOAD = [[{"account": f"a{chain}", "amount": number} for number in range(5)] for chain in range(4)]
BAD = [{"account": "bad", "amount": -1}]

QUERIES = [target["expr"] for panel in dashboard.dashboard()["panels"] for target in panel.get("targets", ())]
_SELECTOR = re.compile(r"\b(mini_flink_\w+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\b(?:by|on) \(([^)]*)\)")
_LABEL = re.compile(r"(\w+) ?(?:=~|!=|!~|=)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("monitored")
    options = ("--workers", "2", "--gateways", "1", "--snapshot-interval-s", "1", "--admin-port", "0")
    server = Server(folder, JOB, *options, environment={"MINI_FLINK_ADMIN": "true"})
    yield server.start()
    server.clean_up()


@pytest.fixture(scope="module")
def page(server: Server) -> str:
    return server.until(r"  Page    (http://\S+)")[1]


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
    return found


def scraped(page: str) -> dict[str, set[str]]:
    """The labels of each metric."""
    try:
        told = httpx.get(f"{page}/metrics", timeout=20)
    except httpx.TransportError:
        return {}
    families = text_string_to_metric_families(told.text) if told.status_code == 200 else ()
    samples = (one for family in families for one in family.samples)
    return {one.name: set(one.labels) for one in samples}


def put_load_on(server: Server) -> None:
    post_all(server.url, "/pay", [*LOAD, BAD, ["no object"]])


def test_metrics_and_labels_that_are_asked_for_exist(server: Server, page: str) -> None:
    put_load_on(server)
    wanted = {
        "mini_flink_operator_state_bytes",
        "mini_flink_process_up",
        "mini_flink_requests_total",
        "mini_flink_snapshot_last_size_bytes",
    }
    known = until(lambda: (now := scraped(page)).keys() >= wanted and now, "all is published")
    for expression in [*QUERIES, *(rule["expr"] for rule in rules())]:
        labels = set(OF_PROMETHEUS)
        for name, selector in _SELECTOR.findall(re.sub(r'"[^"]*"', '""', expression)):
            assert name in known, f"{name} of {expression}"
            labels |= known[name]
            assert set(_LABEL.findall(selector)) <= known[name] | OF_PROMETHEUS, expression
        for listed in _BY.findall(expression):
            assert set(listed.split(", ")) <= labels | {"__name__", "operator"}, expression


@contextmanager
def prometheus(folder: Path, page: str) -> Iterator[httpx.Client]:
    """Prometheus as a user has it, only more eager."""
    target, address = page.removeprefix("http://"), f"127.0.0.1:{free_port()}"
    files.write(str(folder), target, force=False)
    written = folder / files.PROMETHEUS
    written.write_text(re.sub(r"(_interval): \d+s", r"\1: 1s", written.read_text()))
    where = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    command = [str(PROMETHEUS), f"--config.file={written}", *where]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=20) as client:
            yield client
    finally:
        process.kill()
        process.wait()
        print((folder / "log").read_text())


def answer(client: httpx.Client, path: str, **query: str) -> Any:
    try:
        told = client.get(path, params=query)
    except httpx.TransportError:
        return None
    assert told.status_code != 400, told.text
    return told.json()["data"] if told.status_code == 200 else None


def asked(query: str) -> str:
    """As Grafana asks, for all jobs and instances."""
    for name, value in (("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", "1m")):
        query = query.replace(name, value)
    return query


@pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus")
def test_prometheus_has_an_answer_to_every_query(server: Server, page: str, tmp_path: Path) -> None:
    with prometheus(tmp_path, page) as client:
        until(lambda: (answer(client, "/api/v1/query", query="up") or {}).get("result"), "it scrapes")
        put_load_on(server)
        for query in QUERIES:
            until(lambda query=query: answer(client, "/api/v1/query", query=asked(query))["result"], query)
        firing = until(lambda: firing_of(client), "the rules are evaluated")
    assert firing == {"MiniFlinkDeadLetters"}


def firing_of(client: httpx.Client) -> set[str]:
    [group] = answer(client, "/api/v1/rules")["groups"]
    assert [one["lastError"] for one in group["rules"] if one.get("lastError")] == []
    return {one["name"] for one in group["rules"] if one["state"] == "firing"}

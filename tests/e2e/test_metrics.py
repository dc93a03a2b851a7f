"""What processes publish about a known load is that load, also after a worker was killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

from mini_flink.metrics import Sample, read_metrics
from tests.e2e.client import post_all
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, LIMIT_S, Server

CHAINS, LENGTH = 4, 25
AMOUNTS = [[10 * chain + number for number in range(LENGTH)] for chain in range(CHAINS)]
REFUSED = 3


def samples(server: Server) -> list[Sample]:
    return [
        sample
        for path in sorted((server.data_dir / "pages").glob("*.metrics"))
        for sample in read_metrics(str(path))
    ]


def total(found: Iterable[Sample], name: str, **labels: str) -> float:
    wanted = labels.items()
    return sum(each.value for each in found if each.name == name and wanted <= each.labels.items())


def observed(found: Iterable[Sample], name: str, **labels: str) -> int:
    wanted = labels.items()
    named = [each for each in found if each.name == name and wanted <= each.labels.items()]
    return sum(count for each in named for _, count in each.buckets)


def until(server: Server, holds: Callable[[list[Sample]], bool]) -> list[Sample]:
    """What is published once ``holds`` does: it comes a moment after the answers."""
    end = time.monotonic() + LIMIT_S
    while not holds(found := samples(server)):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def put_load_on(server: Server) -> int:
    """How many requests were sent."""
    good = [[{"account": f"a{chain}", "amount": each} for each in line] for chain, line in enumerate(AMOUNTS)]
    bad = [{"account": "bad", "amount": -1}] * REFUSED
    exchanges = post_all(server.url, "/pay", [*good, bad, ["no object"]])
    statuses = sorted(each.status for chain in exchanges for each in chain)
    assert statuses == [200] * (CHAINS * LENGTH) + [400] + [500] * REFUSED
    return len(statuses)


def is_whole(rounds: int) -> Callable[[list[Sample]], bool]:
    """Whether all that ``rounds`` loads lead to has been published."""
    good, bad = CHAINS * LENGTH * rounds, REFUSED * rounds
    return lambda found: (
        observed(found, "mini_flink_request_seconds") == good + bad + rounds
        and observed(found, "mini_flink_stage_latency_seconds") == 2 * good + bad
    )


def test_what_is_published_is_what_was_sent(serve: Serve) -> None:
    server = serve(JOBS / "measured.py", "--workers", "2", "--gateways", "2").start()
    requests = put_load_on(server)
    found = until(server, is_whole(1))
    good = CHAINS * LENGTH
    for status, number in (("200", good), ("400", 1), ("500", REFUSED)):
        assert total(found, "mini_flink_requests_total", route="/pay", status=status) == number
    assert observed(found, "mini_flink_request_seconds", route="/pay") == requests

    taken = good + REFUSED
    for uid, into, out, failed in (
        ("check", taken, good, REFUSED),
        ("total", good, good, 0),
        ("answer", good, good, 0),
    ):
        counts = [
            total(found, f"mini_flink_operator_{name}_total", operator=uid)
            for name in ("records_in", "records_out", "failures")
        ]
        assert counts == [into, out, failed], uid
        assert total(found, "mini_flink_operator_busy_seconds_total", operator=uid) > 0
    heads = {each.labels["operator"] for each in found if each.name == "mini_flink_stage_latency_seconds"}
    assert len(heads) == 2
    latencies = observed(found, "mini_flink_stage_latency_seconds")
    assert latencies == taken + good
    assert total(found, "mini_flink_batch_records") == latencies
    commits = observed(found, "mini_flink_commit_seconds")
    assert observed(found, "mini_flink_batch_records") <= commits <= latencies + 10
    assert total(found, "mini_flink_stage_queue_wait_seconds_total") > 0
    assert total(found, "mini_flink_stage_queue_records") == 0
    assert total(found, "mini_flink_worker_busy_seconds_total") > 0

    amounts = [amount for line in AMOUNTS for amount in line]
    assert total(found, "mini_flink_user_seen", operator="check") == taken
    assert total(found, "mini_flink_user_paid", operator="check") == sum(amounts)
    large = sum(amount >= 50 for amount in amounts)
    assert total(found, "mini_flink_user_payments", operator="check", size="large") == large
    assert observed(found, "mini_flink_user_payment_amount") == good
    assert total(found, "mini_flink_user_payment_amount") == sum(amounts)
    assert total(found, "mini_flink_user_last") in {a + b for a in amounts for b in (*amounts, 0)}
    assert server.stop() == 0


def test_counts_go_on_after_a_kill_and_begin_anew_with_a_new_server(serve: Serve) -> None:
    server = serve(JOBS / "measured.py", "--workers", "1", "--gateways", "1")
    server.clumsy = True
    server.start()
    put_load_on(server)
    before = until(server, is_whole(1))
    pid = next(each["pid"] for each in server.status()["processes"] if each["role"] == "worker")
    since = server.mark()
    os.kill(pid, signal.SIGKILL)
    server.until(r"worker 0.* died", since)
    put_load_on(server)
    found = until(server, is_whole(2))
    seen = "mini_flink_user_seen"
    assert total(found, seen) == 2 * total(before, seen)
    assert total(found, "mini_flink_state_bytes") > 0
    assert server.stop() == 0
    server.start()
    assert total(samples(server), "mini_flink_requests_total") == 0
    post_all(server.url, "/pay", [["no object"]])
    until(server, lambda found: total(found, "mini_flink_requests_total", status="400") == 1)
    assert server.stop() == 0
    assert total(samples(server), "mini_flink_requests_total") == 1


def test_what_comes_to_no_route_is_counted_too(serve: Serve) -> None:
    server = serve(JOBS / "measured.py", "--workers", "1", "--gateways", "1", "--max-body-bytes", "1000")
    server.start()
    statuses = [
        httpx.get(f"{server.url}/nowhere").status_code,
        httpx.put(f"{server.url}/nowhere/else").status_code,
        httpx.delete(f"{server.url}/pay").status_code,
        httpx.post(f"{server.url}/pay", content=b"x" * 5000).status_code,
        httpx.get(f"{server.url}/healthz").status_code,
    ]
    assert statuses == [404, 404, 405, 413, 200]
    counted = {"404": 2, "405": 1, "413": 1, "200": 0}

    def is_there(found: list[Sample]) -> bool:
        return all(
            total(found, "mini_flink_requests_total", status=status) == number
            for status, number in counted.items()
        )

    until(server, is_there)
    assert total(samples(server), "mini_flink_requests_total", route="(none)") == 4
    assert server.stop() == 0


def test_a_gauge_that_does_not_come_back_is_named_and_its_worker_started_again(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    server = Server(
        tmp_path,
        JOBS / "asked.py",
        "--workers=1",
        "--gateways=1",
        "--hang-timeout-ms=2500",
        args=[str(trap)],
    )
    try:
        server.start()
        until(server, lambda found: total(found, "mini_flink_user_depth") == 7)
        since = server.mark()
        trap.touch()
        httpx.post(f"{server.url}/add", json={"key": "a"}).raise_for_status()
        server.until(r"worker 0 .*is waiting for the gauge 'depth' of operator 'add' for \d+ s", since)
        server.until(r"asked\.py:\d+", since)
        server.until(r"worker 0 .*died: SIGKILL \(waiting for the gauge 'depth' of operator 'add'", since)
        server.until_back("worker", 0, since)
        httpx.post(f"{server.url}/add", json={"key": "a"}).raise_for_status()
        server.clumsy = True
        assert server.stop() == 0
    finally:
        server.clean_up()

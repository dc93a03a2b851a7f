"""The examples as they ship, served by module name in real processes, against their models."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.examples.models import RiskEngine, RunningTotal
from tests.examples.payments import payment_chains
from tests.examples.serving import Served, served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="serve needs Linux")


def test_event_service_is_what_is_served_when_no_job_is_named(tmp_path: Path) -> None:
    with served("", tmp_path, "--workers", "2") as server:
        before = time.time() * 1000
        replies = [server.post("/event", {"request": "hello"}).json() for _ in range(2)]
        for reply in replies:
            assert list(reply) == ["code", "msg", "data"]
            assert (reply["code"], reply["msg"]) == (200, "OK")
            assert list(reply["data"]) == ["request", "result", "event_id", "request_timestamp"]
            assert (reply["data"]["request"], reply["data"]["result"]) == ("hello", "ok")
            assert before - 1 <= reply["data"]["request_timestamp"] <= time.time() * 1000
        assert replies[0]["data"]["event_id"] != replies[1]["data"]["event_id"]
        assert server.post("/event", ["no", "object"]).json()["data"]["request"] == ["no", "object"]


def test_running_total_adds_up_and_survives_a_restart(tmp_path: Path) -> None:
    model = RunningTotal()
    for _ in range(2):
        with served("mini_flink.examples.running_total", tmp_path) as server:
            chains = [
                [{"key": f"k{key}", "amount": key + number} for number in range(20)] for key in range(16)
            ]
            replies = asyncio.run(server.post_chains("/total", chains))
            assert replies == [[model.reply(value) for value in chain] for chain in chains]
            assert server.post("/total", {"key": "k1"}).status_code == 500
            assert server.post("/total", {"key": "k1", "amount": 0}).json() == model.reply(
                {"key": "k1", "amount": 0}
            )


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_risk_engine_equals_its_model(tmp_path: Path, workers: int) -> None:
    chains = payment_chains(seed=workers, chains=24, length=60)
    with served("mini_flink.examples.risk_engine", tmp_path, "--workers", str(workers)) as server:
        replies = asyncio.run(server.post_chains("/event", chains))
    _check(chains, replies)


def test_risk_engine_equals_its_model_while_workers_are_killed(tmp_path: Path) -> None:
    chains = payment_chains(seed=9, chains=32, length=200)
    with served("mini_flink.examples.risk_engine", tmp_path, "--workers", "2") as server:
        replies = asyncio.run(_post_while_killing(server, chains))
    _check(chains, replies)


async def _post_while_killing(server: Served, chains: list[list[dict[str, Any]]]) -> list[list[Any]]:
    killing = asyncio.create_task(server.kill_workers(every_seconds=1.0))
    try:
        return await server.post_chains("/event", chains)
    finally:
        assert not killing.done(), killing.exception()
        killing.cancel()


def _check(chains: list[list[dict[str, Any]]], replies: list[list[Any]]) -> None:
    anomalies = 0
    for chain, answers in zip(chains, replies, strict=True):
        model = RiskEngine()
        for payment, answer in zip(chain, answers, strict=True):
            assert answer == model.reply(payment)
            anomalies += answer["isAnomaly"]
    assert anomalies > 10

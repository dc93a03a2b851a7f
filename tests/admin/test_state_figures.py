"""What a real server says of its state and of dead letters is what is there, whatever has happened to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.test_served import WITH_PAGE, ended, until
from tests.e2e.server import JOBS, Server

KEYS = 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, JOBS / "failing.py", "--workers", "2", "--gateways", "1", environment=WITH_PAGE)
    yield server.start()
    server.clean_up()


def told(server: Server) -> tuple[int | None, int | None, int | None]:
    """Keys and bytes of the operator's state, dead letters that are there; Nones if nobody answers."""
    try:
        tick = httpx.get(f"{server.status()['admin_url']}/api/v1/tick", timeout=20).raise_for_status().json()
    except httpx.HTTPError:
        return None, None, None
    node: dict[str, Any] = next(each for each in tick["nodes"] if each["id"] == "total")
    return node["keys"], node["state_bytes"], tick["dlq"]["present"]


def operate(server: Server, kind: str, args: dict[str, Any]) -> dict[str, Any]:
    with httpx.Client(base_url=server.status()["admin_url"], timeout=20) as admin:
        begun = admin.post("/api/v1/ops", json={"kind": kind, "args": args}).json()
        done: dict[str, Any] = until(lambda: ended(admin, begun["id"]), f"{kind} ends")
        assert done["state"] == "done", done
        return done


def test_figures_of_state_hold_through_kills_rescales_and_restarts(server: Server) -> None:
    for number in range(KEYS):
        httpx.post(f"{server.url}/total", json={"key": f"k{number}", "amount": 1}).raise_for_status()
    for _ in range(3):
        assert httpx.post(f"{server.url}/total", json={"key": "k1", "amount": 1, "do": "raise"}).is_error
    until(lambda: told(server)[::2] == (KEYS, 3), "all keys and dead letters are counted")
    before = told(server)
    assert before[1] is not None
    assert before[1] > KEYS * 10
    since = server.kill("worker", 0)
    server.until_back("worker", 0, since)
    until(lambda: told(server) == before, "a worker that was killed counts on")
    operate(server, "rescale", {"workers": 3})
    until(lambda: told(server) == before, "three workers have what two had")
    assert server.stop() == 0
    server.start()
    until(lambda: told(server) == before, "it is the same after a restart")
    [letter, *_] = letters(server)
    operate(server, "dlq_drop", {"ids": [letter["error_id"]]})
    until(lambda: told(server)[::2] == (KEYS, 2), "a letter that was dropped is not there")
    operate(server, "dlq_retry", {"all": True})
    until(lambda: told(server)[::2] == (KEYS, 2), "those that fail again are there again")
    said = [event["text"] for event in server.status()["events"] if event["kind"] == "dead_letters"]
    assert said == [
        "1 dead letter dropped by 127.0.0.1, 0 skipped",
        "2 dead letters retried by 127.0.0.1, 0 skipped",
    ]


def letters(server: Server) -> list[dict[str, Any]]:
    answer = httpx.get(f"{server.status()['admin_url']}/api/v1/deadletters", timeout=20)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["dead_letters"]
    return found

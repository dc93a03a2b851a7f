"""Records that raise, kill their worker or never end: they fail, everybody else is served."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.e2e import checks
from tests.e2e.client import Exchange, Load, post
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, LIMIT_S, ROOT, Server

FAILING = JOBS / "failing.py"


def dead_letter(server: Server) -> dict[str, Any]:
    """The only one; a worker writes it to its table soon after the answer."""
    deadline = time.monotonic() + LIMIT_S
    while not (letters := dead_letters(server)):
        assert time.monotonic() < deadline, "there is no dead letter"
    (letter,) = letters
    return letter


def dead_letters(server: Server) -> list[dict[str, Any]]:
    listed = subprocess.run(
        [sys.executable, "-m", "mini_flink", "dead-letters", "list", "--json", "--data-dir", server.data_dir],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    letters: list[dict[str, Any]] = json.loads(listed.stdout)["dead_letters"]
    return letters


def total_of(server: Server, key: str) -> int:
    total: int = post(server.url, "/total", {"key": key, "amount": 0}).body["total"]
    return total


def check_problem(answer: Exchange, operator: str) -> str:
    """The answer is the 500 of a failed record; its error id."""
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.body["status"], answer.body["code"]) == (500, "record-failed")
    assert answer.body["operator"] == operator
    error_id: str = answer.body["error_id"]
    return error_id


def test_a_record_that_raises_changes_nothing(serve: Serve) -> None:
    server = serve(FAILING, "--workers", "2").start()
    assert post(server.url, "/total", {"key": "a", "amount": 3}).body == {"total": 3}
    error_id = check_problem(post(server.url, "/total", {"key": "a", "amount": 100, "do": "raise"}), "total")
    assert total_of(server, "a") == 3
    said = server.until(rf"error id {error_id}")
    block = server.output[: said.end()].rpartition("error  ")[2]
    assert block.startswith("worker ")
    assert "ValueError: on purpose in operator total" in block
    assert "failing.py" in block
    assert "^^^" in block
    assert "key 'a'" in block
    assert "mini_flink/" not in block, "only the user's own frames are shown"
    assert dead_letter(server)["error_id"] == error_id
    server.kill_all()
    server.start()
    assert total_of(server, "a") == 3
    assert dead_letter(server)["error_id"] == error_id
    assert server.stop() == 0


def test_a_key_selector_that_raises(serve: Serve) -> None:
    server = serve(FAILING, "--workers", "2").start()
    error_id = check_problem(post(server.url, "/total", {"amount": 1}), "total")
    server.until(rf"error id {error_id}")
    assert "KeyError: 'key' in operator total" in server.output
    assert dead_letter(server)["error_id"] == error_id
    assert server.stop() == 0


@pytest.mark.parametrize("deed", ["kill", "exit", "hang"])
def test_a_record_that_takes_its_worker_along_three_times_is_a_dead_letter(serve: Serve, deed: str) -> None:
    server = serve(FAILING, "--workers", "2", "--hang-timeout-ms", "300", "--request-timeout-ms", "60000")
    server.clumsy = deed == "exit"
    server.start()
    load = Load(lambda: server.url, "/total", checks.amounts(SEED, 8)).start()
    load.until_done(200)
    error_id = check_problem(post(server.url, "/total", {"key": "k0", "amount": 10**9, "do": deed}), "total")
    load.until_done(200)
    exchanges = load.stop()
    assert checks.failed(exchanges) == []
    assert checks.total_problems(exchanges) == []
    restarts = [process["restarts"] for process in server.status()["processes"]]
    assert sum(restarts) == 3
    server.until(rf"error id {error_id}")
    assert dead_letter(server)["error_id"] == error_id
    assert server.stop() == 0

"""Dead letters of a running server: they are retried exactly once, whatever is killed meanwhile."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from tests.e2e.client import post
from tests.e2e.commands import Ended, Points, Running, run
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server


def asked(server: Server, typed: bytes, name: str, *words: str) -> Ended:
    """What becomes of a command that asks a person."""
    master, terminal = pty.openpty()
    try:
        os.write(master, typed)
        return Running(server, name, *words, stdin=terminal).wait()
    finally:
        os.close(terminal)
        os.close(master)


def test_a_retried_letter_counts_once_also_after_kills(serve: Serve) -> None:
    server = serve(JOBS / "failing.py", "--workers", "2").start()
    failed = post(server.url, "/total", {"key": "a", "amount": 5, "do": "early"})
    again = post(server.url, "/total", {"key": "a", "amount": 1, "do": "raise"})
    ids = [failed.body["error_id"], again.body["error_id"]]
    assert post(server.url, "/total", {"key": "a", "amount": 100}).body == {"total": 100}
    letter = run(server, "dead-letters show", ids[0], "--json").json()
    assert (letter["key"], letter["operator"]) == ("'a'", "total")
    assert letter["frames"]
    assert run(server, "dead-letters retry", "--all").code == 2, "several want --yes"
    assert asked(server, b"n\n", "dead-letters retry", "--all").code == 1, "declined"
    assert asked(server, b"\x04", "dead-letters retry", "--all").code == 130, "left at the question"
    retried = run(server, "dead-letters retry", "--all", "--yes", "--json")
    assert retried.json() == {"retried": 2, "skipped": 0}
    server.kill_all()
    server.start()
    assert post(server.url, "/total", {"key": "a", "amount": 0}).body == {"total": 105}
    (left,) = run(server, "dead-letters list", "--json").json()["dead_letters"]
    assert left["error_id"] not in ids, "what fails again is a new letter"
    unknown = run(server, "dead-letters retry", ids[0], "nope", "--yes", "--json")
    assert (unknown.code, unknown.json()) == (2, {"retried": 0, "skipped": 2})
    assert all(each in unknown.err for each in (ids[0], "nope"))
    unknown = run(server, "dead-letters retry", "--all", "--yes", "--operator", "totl")
    assert (unknown.code, unknown.out, "did you mean total?" in unknown.err) == (2, "", True)
    assert run(server, "dead-letters drop", left["error_id"], "--json").json() == {"dropped": 1, "skipped": 0}
    server.kill_all()
    server.start()
    assert run(server, "dead-letters list", "--json").json() == {"dead_letters": []}
    assert server.stop() == 0
    assert run(server, "dead-letters drop", "x").code == 69


@pytest.mark.parametrize("point", ["w0@after_log_write", "w0@before_send"])
def test_a_worker_that_is_killed_in_a_retry(serve: Serve, tmp_path: Path, point: str) -> None:
    points = Points(tmp_path / "points", point)
    server = serve(JOBS / "failing.py", "--workers", "1").start(environment=points.environment)
    failed = post(server.url, "/total", {"key": "a", "amount": 5, "do": "early"})
    assert post(server.url, "/total", {"key": "a", "amount": 100}).body == {"total": 100}
    points.arm(point)
    killed = run(server, "dead-letters retry", failed.body["error_id"])
    assert points.fired(point)
    assert killed.code == 75
    assert "ended before it answered" in killed.err
    assert post(server.url, "/total", {"key": "a", "amount": 0}).body == {"total": 105}
    assert run(server, "dead-letters retry", failed.body["error_id"], "--json").json()["retried"] == 0
    assert post(server.url, "/total", {"key": "a", "amount": 0}).body == {"total": 105}
    assert server.stop() == 0

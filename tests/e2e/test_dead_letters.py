"""Dead letters of a running server: they are retried exactly once, whatever is killed meanwhile."""

from __future__ import annotations

from tests.e2e.client import post
from tests.e2e.commands import run
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS


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
    retried = run(server, "dead-letters retry", "--all", "--yes", "--json")
    assert retried.json() == {"retried": 2, "skipped": 0}
    server.kill_all()
    server.start()
    assert post(server.url, "/total", {"key": "a", "amount": 0}).body == {"total": 105}
    (left,) = run(server, "dead-letters list", "--json").json()["dead_letters"]
    assert left["error_id"] not in ids, "what fails again is a new letter"
    assert run(server, "dead-letters retry", ids[0], "--json").json() == {"retried": 0, "skipped": 1}
    assert run(server, "dead-letters drop", left["error_id"], "--json").json() == {"dropped": 1, "skipped": 0}
    server.kill_all()
    server.start()
    assert run(server, "dead-letters list", "--json").json() == {"dead_letters": []}
    assert server.stop() == 0
    assert run(server, "dead-letters drop", "x").code == 69

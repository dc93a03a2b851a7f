"""``state get|scan`` and the keys of the API: what is told is what was committed, whoever is asked.

The same questions to a server under load, after kills and a rescale, and to the folder that it left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mini_flink.asking import RefusedError
from mini_flink.errors import EXIT_TRY_AGAIN
from mini_flink.key_text import written
from mini_flink.keys import encode_key
from mini_flink.runners import keyed_state
from tests.e2e.client import Exchange, Load, post, post_all
from tests.e2e.commands import kill_everything, run
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server

KEEPING = JOBS / "keeping.py"
QUICK = ("--flush-interval-ms", "200", "--gateways", "1")
CONNECTIONS = 6
HOSTILE: list[Any] = [
    "<img src=x onerror=alert(1)>",
    "é\u202e\x1b[31m\u0000",
    "👩‍👩‍👧",
    "k" * 100_000,
    ["a", ["b", 1, True], "ü"],
    "17",
    17,
    True,
    '{"$bytes": "00"}',
    "",
]


def key_of(value: Any) -> Any:
    return tuple(map(key_of, value)) if isinstance(value, list) else value


def ones(connection: int) -> Iterator[dict[str, Any]]:
    """For one key, endless: its total says how many were committed."""
    while True:
        yield {"key": f"k{connection}", "amount": 1}


def put_load_on(server: Server) -> Load:
    return Load(lambda: server.url, "/keep", [ones(each) for each in range(CONNECTIONS)]).start()


def get(folder: str, key: str, operator: str, state: str | None = None) -> dict[str, Any]:
    """As the command does it."""
    with keyed_state.opened(folder) as tell:
        return keyed_state.get(tell, key, operator, state)


def scan(folder: str, operator: str, **which: Any) -> dict[str, Any]:
    """As the command does it."""
    with keyed_state.opened(folder) as tell:
        return keyed_state.scan(tell, operator, **which)


def told(server: Server, key: str) -> dict[str, Any]:
    """What the states of a key hold; a worker that has just died answers a little later."""
    while True:
        try:
            found = get(str(server.data_dir), key, "keep")
        except RefusedError as error:
            if error.exit_code != EXIT_TRY_AGAIN:
                raise
            server.status()
        else:
            return {row["state"]: row["value"] for row in found["states"]}


def paged(server: Server, limit: int = 7, **which: Any) -> list[dict[str, Any]]:
    """All rows of all pages."""
    rows, after = [], None
    while True:
        page = scan(str(server.data_dir), "keep", limit=limit, after=after, **which)
        assert len(page["rows"]) <= limit
        rows += page["rows"]
        after = page["after"]
        if after is None:
            return rows


def counted(exchanges: list[Exchange]) -> tuple[dict[str, int], dict[str, int]]:
    """How many were surely applied, and at most, per key."""
    surely, at_most = dict[str, int](), dict[str, int]()
    for exchange in exchanges:
        key = exchange.value["key"]
        at_most[key] = at_most.get(key, 0) + 1
        surely[key] = surely.get(key, 0) + exchange.ok
    return surely, at_most


def watch(server: Server, load: Load, rounds: int) -> None:
    """What is told is never behind what was answered before, nor ahead of what was sent by then."""
    for _ in range(rounds):
        load.until_done(20)
        for connection in range(CONNECTIONS):
            key = f"k{connection}"
            surely = counted(load.all())[0].get(key, 0)
            total = told(server, key).get("total", 0)
            assert surely <= total <= counted(load.all())[1][key]


def check(server: Server, exchanges: list[Exchange]) -> None:
    """Every key, one by one and page by page, as the clients have it."""
    surely, at_most = counted(exchanges)
    totals = {row["key"]: row["value"] for row in paged(server, state="total")}
    assert totals.keys() == surely.keys()
    for key, total in totals.items():
        assert surely[key] <= total <= at_most[key]
        assert told(server, key) == {
            "total": total,
            "amounts": [1] * total,
            "seen": {"1": total},
            "most": 1,
            "mean": [total, total],
        }


def test_what_is_told_is_what_is_committed(serve: Serve) -> None:
    server = serve(KEEPING, *QUICK).start("--workers", "2")
    load = put_load_on(server)
    watch(server, load, 3)
    since = server.kill("worker", 0)
    watch(server, load, 3)
    server.until_back("worker", 0, since)
    before = get(str(server.data_dir), "k0", "keep")["owners"]
    assert run(server, "rescale", "--workers", "3").code == 0
    watch(server, load, 3)
    owners = {row["key"]: row["worker"] for row in paged(server, limit=100, state="total")}
    for key, worker in owners.items():
        found = get(str(server.data_dir), key, "keep")
        assert {row["worker"] for row in [*found["states"], *found["owners"]]} == {worker}
    assert set(owners.values()) <= {0, 1, 2}
    assert before[0]["key_group"] == get(str(server.data_dir), "k0", "keep")["owners"][0]["key_group"]
    exchanges = load.stop()
    check(server, exchanges)
    assert run(server, "drain").code == 0
    check(server, exchanges)  # who lets nobody in is looked at all the same
    assert run(server, "resume").code == 0
    load = put_load_on(server)
    load.until_done(100)
    kill_everything(server)
    load.stop()
    exchanges += load.all()
    check(server, exchanges)  # the tables are behind: what only the logs have is read as well
    left = paged(server)
    assert paged(server) == left, "nothing was changed by looking"
    server.start()
    assert paged(server) == left
    assert server.stop() == 0
    assert paged(server) == left
    check(server, exchanges)


def test_keys_and_values_of_every_kind(serve: Serve) -> None:
    server = serve(KEEPING, *QUICK).start("--workers", "2")
    values = [{"key": key, "amount": number} for number, key in enumerate(HOSTILE)]
    values.append({"key": "ann", "order": {"item": "tea\x1b[2J<b>", "count": 2}})
    ((*answers,),) = post_all(server.url, "/keep", [values])
    assert [answer.status for answer in answers] == [200] * len(values)
    for again in (lambda: None, lambda: kill_everything(server), server.start, server.stop):
        again()
        for number, key in enumerate(HOSTILE):
            stored = encode_key(key_of(key))
            found = get(str(server.data_dir), written(stored), "keep", "total")
            assert [row["value"] for row in found["states"]] == [number]
        rows = paged(server, limit=3, state="total")
        assert sorted(row["value"] for row in rows) == list(range(len(HOSTILE)))
        by_value = {row["value"]: row for row in rows}
        for number, key in enumerate(HOSTILE):
            row = by_value[number]
            assert row["key"] == (
                None if len(str(key)) == 100_000 else json.loads(written(encode_key(key_of(key))))
            )
        (order,) = get(str(server.data_dir), "ann", "keep", "order")["states"]
        assert order["text"] == "Order(item='tea\\x1b[2J<b>', count=2)"
        assert order["value"] == {"item": "tea\x1b[2J<b>", "count": 2}
        shown = run(server, "state get", "ann")
        assert "\x1b" not in shown.out
        assert "Order(item=" in shown.out
    assert run(server, "state get", "k" * 100_000, "--state", "total").out.count("\n") == 2


def test_the_command_says_what_it_found_and_what_is_wrong(serve: Serve) -> None:
    server = serve(KEEPING, *QUICK).start("--workers", "2")
    none = run(server, "state scan", "--operator", "keep", "--json")
    assert none.json() == {"rows": [], "after": None}
    for number in range(30):
        assert post(server.url, "/keep", {"key": str(number), "amount": number}).ok
    for again in (lambda: None, server.stop):
        again()
        never = run(server, "state get", "nobody")
        assert never.code == 0
        assert never.out.startswith("this key has no state\n  keep  it would be in key group ")
        assert run(server, "state get", "17").out.startswith(
            'this key has no state; the string "17" has state: ask for \'"17"\'\n'
        )
        found = run(server, "state get", '"17"', "--state", "total", "--json").json()
        assert (found["key"], found["states"][0]["value"], found["states"][0]["kind"]) == ("17", 17, "value")
        page = run(server, "state scan", "--operator", "keep", "--state", "total", "--limit", "20")
        assert len(page.out.splitlines()) == 21
        cursor = page.err.removeprefix("more: --after ").strip()
        more = run(
            server, "state scan", "--operator", "keep", "--state", "total", "--after", cursor, "--json"
        ).json()
        assert (len(more["rows"]), more["after"]) == (10, None)
        for wrong, expected in (
            (("state scan", "--operator", "kep"), "did you mean keep?"),
            (("state scan", "--operator", "last"), "no operator 'last' has keyed state"),
            (("state get", "a", "--state", "totl"), "did you mean total?"),
            (("state scan", "--operator", "keep", "--after", "x"), "no cursor of a scan"),
            (("state scan", "--operator", "keep", "--limit", "0"), "--limit"),
        ):
            refused = run(server, *wrong)
            assert (refused.code, refused.out) == (2, "")
            assert expected in refused.err


def test_a_job_without_state_says_so(serve: Serve) -> None:
    server = serve("mini_flink.examples.event_service").start("--workers", "1")
    for again in (lambda: None, server.stop):
        again()
        refused = run(server, "state get", "a")
        assert refused.code == 2
        assert "no operator of this job has keyed state" in refused.err
    assert run(serve(KEEPING), "state get", "a").code == 78, "a folder without a job"


@pytest.mark.parametrize("payloads", [True, False])
def test_the_api_tells_the_same_unless_payloads_are_hidden(serve: Serve, payloads: bool) -> None:
    environment = {"MINI_FLINK_ADMIN": "true", "MINI_FLINK_ADMIN_PAYLOADS": str(payloads).lower()}
    server = serve(KEEPING, *QUICK, environment=environment).start("--workers", "2")
    assert post(server.url, "/keep", {"key": ["a", 1], "amount": 5}).ok
    failed = post(server.url, "/keep", {"key": "bad", "amount": "secret"})
    report = server.until_status(lambda status: status["admin_url"], "an address")
    with httpx.Client(base_url=report["admin_url"]) as admin:
        server.until_status(lambda _: _answers(admin), "the admin process answers")
        (letter,) = admin.get("/api/v1/deadletters").json()["dead_letters"]
        assert letter["error_id"] == failed.body["error_id"]
        found = admin.get("/api/v1/keys/keep", params={"key": '["a", 1]'})
        page = admin.get("/api/v1/keys/keep", params={"limit": 3})
        if not payloads:
            assert "value" not in letter
            for hidden in (found, page):
                assert (hidden.status_code, hidden.json()["code"]) == (403, "payloads-hidden")
            return
        assert "secret" in letter["value"]
        assert found.json() == get(str(server.data_dir), '["a", 1]', "keep")
        assert found.json()["states"][0]["key"] == ["a", 1]
        assert len(page.json()["rows"]) == 3
        following = admin.get("/api/v1/keys/keep", params={"after": page.json()["after"]}).json()
        rows = [*page.json()["rows"], *following["rows"]]
        assert (rows, following["after"]) == (paged(server, limit=100), None)
        for path, status, code in (
            ("/api/v1/keys/nobody?key=1", 404, "no-such-node"),
            ("/api/v1/keys/last?key=1", 404, "no-such-state"),
            ("/api/v1/keys/keep?key=1&state=totl", 404, "no-such-state"),
            ("/api/v1/keys/keep?after=!", 400, "bad-cursor"),
            ("/api/v1/keys/keep?limit=101", 400, "bad-limit"),
            ("/api/v1/keys/keep?limit=x", 400, "bad-limit"),
        ):
            answer = admin.get(path)
            assert (answer.status_code, answer.json()["code"]) == (status, code), path
        assert "/api/v1/keys/{node}" in admin.get("/api/v1/openapi.json").json()["paths"]


def _answers(admin: httpx.Client) -> bool:
    try:
        return admin.get("/api/v1/tick").status_code == 200
    except httpx.TransportError:
        return False

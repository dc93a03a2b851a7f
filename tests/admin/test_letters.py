"""Dead letters in groups and pages: the machine on tables of facts, and a real server's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mini_flink.admin.guard import Refusal
from mini_flink.admin.letters import ROWS, Index, cursor_of, read_cursor, row_of
from tests.admin.test_served import WITH_PAGE, until
from tests.e2e.client import post_all
from tests.e2e.server import JOBS, Server


def letter(number: int, operator: str = "total", kind: str = "ValueError", line: int = 18) -> dict[str, Any]:
    error = {"type": kind, "message": f"bad {number}", "frames": ["job.py:3 top", f"job.py:{line} inner"]}
    facts = {"error_id": f"0-1-{number:x}", "operator": operator, "failed_ms": number, "error": error}
    return {**facts, "key": b"", "value": b""}


def index(*several: dict[str, Any]) -> Index:
    found = Index()
    found.take(0, several[::2])
    found.take(1, several[1::2])
    found.close()
    return found


def test_a_group_is_one_place_and_one_kind_of_error() -> None:
    found = index(letter(1), letter(2), letter(3, line=20), letter(4, kind="KeyError"), letter(5, "other"))
    groups = found.errors(None)
    assert [(group["operator"], group["type"], group["count"]) for group in groups] == [
        ("other", "ValueError", 1),
        ("total", "KeyError", 1),
        ("total", "ValueError", 1),
        ("total", "ValueError", 2),
    ]
    last = groups[-1]
    assert (last["message"], last["messages"], last["location"]) == ("bad 2", 2, "job.py:18 inner")
    assert last["traceback"] == ["job.py:3 top", "job.py:18 inner", "ValueError: bad 2"]
    assert (last["first_seen"], last["last_seen"]) == (
        "1970-01-01T00:00:00.001+00:00",
        "1970-01-01T00:00:00.002+00:00",
    )
    assert [group["operator"] for group in found.errors("other")] == ["other"]


def test_without_payloads_no_message_is_shown_for_it_may_quote_one() -> None:
    secret = letter(1) | {"request_id": "r"}
    secret["error"]["message"] = "no amount in {'card': '4111'}"
    [group] = index(secret).errors(None, payloads=False)
    assert "4111" not in str(group)
    assert group["traceback"] == ["job.py:3 top", "job.py:18 inner", "ValueError"]
    row = row_of(0, secret | {"value": None, "key": None}, payloads=False)
    assert (row["error"], row["frames"]) == ("ValueError", secret["error"]["frames"])
    assert not {"key", "value"} & set(row)
    assert "4111" not in str(row)
    assert "4111" in str(row_of(0, secret | {"value": None, "key": None}, payloads=True))


def test_pages_hold_every_letter_once_also_when_more_come() -> None:
    several = [letter(number) for number in range(2 * ROWS + 7)]
    found, seen, cursor = index(*several), [], None
    for expected in (ROWS, ROWS, 7):
        places, more = found.page(None, None, cursor)
        assert len(places) == expected
        seen += [place.failed_ms for place in places]
        assert more == 2 * ROWS + 7 - len(seen)
        cursor = cursor_of(places[-1])
        found = index(*several, letter(10_000))  # newer ones stand before all pages
    assert seen == sorted(range(2 * ROWS + 7), reverse=True)
    group = found.errors(None)[0]["group"]
    assert found.page("nobody", None, None) == ([], 0)
    assert found.page(None, group, None)[1] == 2 * ROWS + 8 - ROWS


@pytest.mark.parametrize("cursor", ["x", "12", ".", "-1.a", "9" * 40 + ".a"])
def test_a_cursor_that_nobody_has_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(Refusal):
        read_cursor(cursor)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, JOBS / "failing.py", "--workers", "2", "--gateways", "1", environment=WITH_PAGE)
    yield server.start()
    server.clean_up()


def test_what_fails_is_shown_in_groups_page_by_page_and_whole(server: Server) -> None:
    count = ROWS + 5
    chains = [[{"key": f"k{number}", "amount": 1, "do": "raise"}] for number in range(count)]
    post_all(server.url, "/total", chains)
    with httpx.Client(base_url=f"{server.status()['admin_url']}/api/v1/", timeout=20) as admin:
        until(lambda: admin.get("tick").status_code == 200, "the admin process knows")
        first = until(lambda: (got := admin.get("deadletters").json())["more"] == 5 and got, "all are there")
        second = admin.get("deadletters", params={"cursor": first["cursor"]}).json()
        ids = [row["error_id"] for row in first["dead_letters"] + second["dead_letters"]]
        assert (len(ids), len(set(ids)), second["cursor"]) == (count, count, None)
        [group] = admin.get("nodes/total/errors").json()["errors"]
        assert (group["count"], group["type"], group["message"]) == (count, "ValueError", "on purpose")
        assert "failing.py:" in group["location"]
        assert admin.get("errors").json()["errors"] == [group]
        assert admin.get("deadletters", params={"group": "none"}).json()["dead_letters"] == []
        whole = admin.get(f"deadletters/{ids[0]}").json()
        assert whole["group"] == group["group"]
        assert "'amount': 1" in whole["value"]
        assert whole["traceback"][-1] == "ValueError: on purpose"
        for missing in (admin.get("deadletters/0-1-ffff"), admin.get("nodes/nobody/errors")):
            assert missing.status_code == 404
        assert admin.get("deadletters", params={"cursor": "x"}).json()["code"] == "bad-cursor"
        begun = admin.post("ops", json={"kind": "dlq_drop", "args": {"ids": ids[:1]}}).json()["id"]
        until(lambda: admin.get(f"ops/{begun}").json()["state"] == "done", "one is dropped")
        assert admin.get(f"deadletters/{ids[0]}").status_code == 404
        assert admin.get("nodes/total/errors").json()["errors"][0]["count"] == count - 1

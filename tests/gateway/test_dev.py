"""What only ``serve --dev`` tells: to whom, in which form, and nothing of it as markup."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

import pytest

from mini_flink.gateway import problem, problem_page
from mini_flink.gateway.access_log import LINES_A_SECOND, AccessLog
from mini_flink.gateway.bodies import Incoming
from mini_flink.gateway.dev import SECRETS, DevDoor
from mini_flink.gateway.port import JSON_HEADERS, Answer, Done
from mini_flink.gateway.routes import SourceRoute

HOSTILE = (
    """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;</pre></style><a href="javascript:3">"""
)
DETAIL = {
    "error": f"KeyError: {HOSTILE}",
    "location": "job.py:14",
    "frames": [
        {"place": "job.py:14:9", "function": "<lambda>", "source": f'o["{HOSTILE}"]', "caret": "  ^^^^"},
        {"place": HOSTILE, "function": HOSTILE, "source": HOSTILE, "caret": HOSTILE},
    ],
    "record": HOSTILE,
    "key": HOSTILE,
}
FAILED = problem.failed_record("0-1-1", HOSTILE, DETAIL)
LOCAL = (b"host", b"127.0.0.1:7071")
BROWSER = (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
DOOR = DevDoor("http://127.0.0.1:7072", None)


def shown(answer: Answer, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    presented = DOOR.present(answer, headers)
    assert (b"content-type", b"application/problem+json") in presented.headers
    content: dict[str, Any] = json.loads(presented.body)
    return content


class Seen(HTMLParser):
    """The elements of a page and the text in them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_program_gets_json_with_all_that_is_known() -> None:
    for accept in ((), ((b"accept", b"*/*"),), ((b"accept", b"application/json, text/html;q=0.5"),)):
        content = shown(FAILED, LOCAL, *accept)
        assert {name: content[name] for name in DETAIL} == DETAIL
        assert content["page"] == "http://127.0.0.1:7072/#deadletters?id=0-1-1"


def test_a_browser_gets_a_page_in_which_nothing_of_the_record_is_markup() -> None:
    answer = DOOR.present(FAILED, (LOCAL, BROWSER))
    headers = dict(answer.headers)
    assert (answer.status, headers[b"content-type"]) == (500, b"text/html; charset=utf-8")
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    page = Seen(answer.body)
    allowed = "html head meta title style body h1 p pre mark dl dt dd code a"
    assert page.tags <= set(allowed.split())
    assert {name for name, _ in page.attributes} == {"lang", "charset", "name", "content", "href"}
    assert [value for name, value in page.attributes if name == "href"] == [
        "http://127.0.0.1:7072/#deadletters?id=0-1-1"
    ]
    assert page.text.count(HOSTILE) >= 7


def test_the_style_of_the_page_is_the_one_that_its_policy_allows() -> None:
    page = problem_page.render({}).decode()
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in dict(problem_page.HEADERS)[b"content-security-policy"].decode()


@pytest.mark.parametrize(
    "host", [b"evil.example", b"127.0.0.1.evil.example", b"10.0.0.1:7071", b"", b"[::2]"]
)
def test_another_host_name_hears_no_more_than_in_production(host: bytes) -> None:
    for accept in ((), (BROWSER,)):
        content = shown(FAILED, (b"host", host), *accept)
        assert not SECRETS & content.keys()
        assert content["error_id"] == "0-1-1"


@pytest.mark.parametrize(
    "host", [b"localhost:7071", b"LOCALHOST", b"127.0.0.1", b"[::1]:7071", b"127.9.9.9:1"]
)
def test_the_names_of_this_host(host: bytes) -> None:
    assert shown(FAILED, (b"host", host))["record"] == HOSTILE


def test_a_wrong_body_hears_what_is_taken_and_a_wrong_path_hears_of_the_routes() -> None:
    bad = problem.bad_body("a JSON object is due, this is an array", 1, 1)
    door = DevDoor("", None, {1: '{"key":1}', 2: "{}"})
    for source, body, expected in (
        (1, "dict", 'a JSON object, such as {"key":1}'),
        (2, "dict", "a JSON object"),
        (1, "object", "any JSON"),
        (1, "request", "any JSON, or no body"),
    ):
        answers: list[Answer] = []
        incoming = Incoming("POST", "/total", {}, b"", (LOCAL,), b"[]")
        let_in = door.looks_on(lambda _, done: done(bad), SourceRoute(source, "/total", body=body))
        let_in(incoming, answers.append)
        assert json.loads(answers[0].body)["expected"] == expected
    lost = problem.not_found(["POST /total", f"GET /{HOSTILE}"])
    assert shown(lost, LOCAL)["inputs"] == ["POST /total", f"GET /{HOSTILE}"]
    page = Seen(DOOR.present(lost, (LOCAL, BROWSER)).body)
    assert "script" not in page.tags
    assert "POST /total" in page.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"type":"about:blank"}', b"\xff"])
def test_what_a_job_answers_by_itself_stays(body: bytes) -> None:
    for headers in (JSON_HEADERS, (problem.CONTENT_TYPE,)):
        answer = Answer(500, headers, body)
        assert DOOR.present(answer, (LOCAL, BROWSER)) is answer


def test_a_line_a_request_with_its_key() -> None:
    said: list[str] = []
    door = DevDoor("", said.append)
    waiting: list[Done] = []

    def take(_: Incoming, done: Done) -> None:
        door.hear_key("ann\n\x1b[31m")
        waiting.append(done)

    incoming = Incoming("POST", "/total\x1b[2J", {}, b"a=\x1b", (LOCAL,), b"{}")
    route = SourceRoute(1, "/total")
    door.looks_on(take, route)(incoming, lambda _: None)
    door.looks_on(lambda _, done: done(problem.timeout()), route)(incoming, lambda _: None)
    waiting.pop()(Answer(200, JSON_HEADERS, b"{}"))
    door.refused("GET", "/nowhere", (LOCAL,), problem.not_found([]))
    assert [line.split("   ")[1] for line in said] == ["504", "200", "404"]
    assert "key" not in said[0], "the key of one request is not that of another"
    assert r"key 'ann\n\x1b[31m'" in said[1]
    assert all(line.isprintable() for line in said)


def test_many_requests_are_counted() -> None:
    log = AccessLog()
    lines = [line for step in range(500) for line in log.answered("GET /x", 200, 0.1, "", 10 + step / 1000)]
    assert len(lines) == LINES_A_SECOND
    assert log.due(10.9) == []
    assert log.due(11.0) == [f"… and {500 - LINES_A_SECOND} more requests within a second"]
    assert log.due(12.5) == []
    assert len(log.answered("GET /x", 200, 0.1, "", 12.6)) == 1

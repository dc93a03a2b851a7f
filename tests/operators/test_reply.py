"""What reply() sends, and what fails its record."""

from __future__ import annotations

import datetime
import decimal
import json
import logging

import pytest

from mini_flink.datastream import Reply
from mini_flink.json_codec import ReplyEncodeError


def answer_of(job_of, value, **options):
    [answer] = job_of(lambda env: env.from_requests("/a").map(lambda _: value).reply(**options)).feed({})
    return tuple(answer)


JSON, BYTES = "application/json", "application/octet-stream"


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        ({"a": 1}, {}, (200, [], JSON, b'{"a":1}')),
        ("text", {}, (200, [], JSON, b'"text"')),
        (b"\x00raw", {}, (200, [], BYTES, b"\x00raw")),
        (b"a,b", {"content_type": "text/csv"}, (200, [], "text/csv", b"a,b")),
        (None, {}, (204, [], None, b"")),
        (None, {"status": 404}, (404, [], None, b"")),
        ({"a": 1}, {"status": 204}, (204, [], None, b"")),
        ({"a": 1}, {"status": 304}, (304, [], None, b"")),
        (1, {"status": 201, "headers": {"X-A": "b"}}, (201, [("X-A", "b")], JSON, b"1")),
        (Reply({"a": 1}), {}, (200, [], JSON, b'{"a":1}')),
        (Reply(None), {}, (204, [], None, b"")),
        (Reply(b"x", content_type="image/png"), {}, (200, [], "image/png", b"x")),
        (Reply("x", 503, {"Retry-After": "1"}), {"status": 201}, (503, [("Retry-After", "1")], JSON, b'"x"')),
        (
            Reply(1, headers={"x-a": "own"}),
            {"headers": {"X-A": "sink", "X-B": "sink"}, "content_type": "application/x+json"},
            (200, [("x-a", "own"), ("X-B", "sink")], "application/x+json", b"1"),
        ),
        (decimal.Decimal("1.10"), {}, (200, [], JSON, b'"1.10"')),
        (datetime.date(2024, 2, 29), {}, (200, [], JSON, b'"2024-02-29"')),
    ],
)
def test_what_is_sent(job_of, value, options, expected):
    assert answer_of(job_of, value, **options) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Reply(1, status=199), "199"),
        (Reply(1, status=600), "600"),
        (Reply(1, status="200"), "'200'"),
        (Reply(1, status=True), "True"),
        (Reply(1, headers={"Connection": "close"}), "belongs to the connection"),
        (Reply(1, headers={"Content-Length": "1"}), "belongs to the connection"),
        (Reply(1, headers={"x": "a\r\nb: c"}), "line end"),
        (Reply(1, headers={"x\n": "a"}), "not the name"),
        (Reply(1, headers={"": "a"}), "not the name"),
        (Reply(1, headers={"x": "€"}), "latin-1"),
        (Reply(1, headers={"x": 1}), "not str"),
        (Reply(1, headers=[("x", "1")]), "mapping"),
        (Reply(1, content_type="a\r\nb"), "line end"),
    ],
)
def test_a_bad_reply_is_its_records_failure(job_of, value, text):
    job = job_of(lambda env: env.from_requests("/a").map(lambda _: value).reply())
    failure = job.failure({})
    assert failure.uid == "reply-1"
    assert isinstance(failure.cause, ValueError)
    assert text in str(failure.cause)


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, object(), Reply(object())])
def test_what_json_cannot_say(job_of, value):
    cause = job_of(lambda env: env.from_requests("/a").map(lambda _: value).reply()).failure({}).cause
    assert isinstance(cause, ReplyEncodeError)


def test_several_replies_and_a_stream_that_goes_on(job_of, capsys):
    def job(env):
        stream = env.from_requests("/a").map(lambda value: value["n"])
        stream.reply()
        stream.flat_map(lambda n: [n + 1, n + 2]).reply()
        stream.print()

    answers = job_of(job).feed({"n": 1})
    assert [json.loads(answer.body) for answer in answers] == [1, 2, 3]
    assert capsys.readouterr().out == "1\n"


def test_a_reply_may_cross_a_shuffle(job_of):
    def job(env):
        replies = env.from_requests("/a").map(lambda value: Reply(value, 418, {"x-a": "b"}))
        replies.key_by(lambda reply: reply.status).map(lambda reply: reply).reply()

    [answer] = job_of(job, workers=2).feed({"n": 1})
    assert tuple(answer) == (418, [("x-a", "b")], JSON, b'{"n":1}')


def test_a_value_from_no_request_has_nobody_to_hear_it(job_of, caplog):
    def job(env):
        env.from_requests("/a").union(env.from_collection([{}])).map(lambda value: value).reply().name("out")

    running = job_of(job)
    with caplog.at_level(logging.WARNING):
        assert [running.feed({}, origin=None), running.feed({}, origin=None)] == [[], []]
    assert len(caplog.records) == 1
    assert "'out'" in caplog.text
    assert len(running.feed({})) == 1


def test_a_printed_value_whose_text_raises(job_of):
    class Silent:
        def __str__(self):
            raise RuntimeError("no text")

    failure = job_of(lambda env: env.from_requests("/a").map(lambda value: Silent()).print()).failure({})
    assert failure.uid == "print-1"

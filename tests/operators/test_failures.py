"""Whose line a failure names, and which exceptions of user code fail their record only."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from mini_flink.datastream import MapFunction, Reply
from mini_flink.errors import JobError
from mini_flink.failures import Failure, render, render_error
from tests.operators.conftest import Job

JobOf = Callable[..., Job]


class Halt(BaseException):
    """What somebody's library raises."""


def told(job: Job, value: Any) -> list[str]:
    """The log's lines about the one failure of a value."""
    failure = job.failure(value)
    shown = render(Failure(failure.uid, failure.cause, location=failure.location))
    assert "mini_flink" not in shown
    return shown.splitlines()


async def later() -> int:
    return 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: float("nan"),
        lambda _: object(),
        lambda _: {"x": {1, object()}},
        lambda _: Reply({}, status=999),
        lambda _: Reply({}, headers={"a b": "c"}),
    ],
)
def test_a_reply_that_cannot_be_sent_names_the_line_of_the_reply(job_of: JobOf, answer: Any) -> None:
    def build(env: Any) -> None:
        mapped = env.from_requests("/x").map(answer)
        mapped.reply().uid("answer")

    lines = told(job_of(build), {})
    assert lines[0].endswith(" in operator answer")
    assert lines[1].startswith("  --> operator 'answer', made at ")
    assert lines[3].endswith('| mapped.reply().uid("answer")')


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_coroutine_in_a_reply(job_of: JobOf) -> None:
    lines = told(job_of(lambda env: env.from_requests("/x").map(lambda _: later()).reply()), {})
    assert "coroutine" in lines[0]
    assert ".reply()), {})" in lines[3]


@pytest.mark.parametrize("key", [1.5, None, {}])
def test_a_key_of_no_use_names_the_line_of_the_key_by(job_of: JobOf, key: Any) -> None:
    def build(env: Any) -> None:
        mapped = env.from_requests("/x").map(lambda value: value)
        keyed = mapped.key_by(lambda _: key)
        keyed.reduce(lambda one, _: one).uid("last").reply()

    lines = told(job_of(build), {})
    assert lines[1].startswith("  --> operator 'last', made at ")
    assert lines[3].endswith("| keyed = mapped.key_by(lambda _: key)")


def test_a_value_that_cannot_be_shuffled_names_its_sender(job_of: JobOf) -> None:
    def build(env: Any) -> None:
        mapped = env.from_requests("/x").map(lambda _: object()).uid("sender")
        mapped.key_by(lambda _: 1).reduce(lambda one, _: one).reply()

    lines = told(job_of(build), {})
    assert lines[1].startswith("  --> operator 'sender', made at ")
    assert 'uid("sender")' in lines[3]


@pytest.mark.parametrize("results", ["text", 3, {"a": 1}])
def test_results_that_are_none_name_the_operator(job_of: JobOf, results: Any) -> None:
    def build(env: Any) -> None:
        env.from_requests("/x").flat_map(lambda _: results).uid("flat").reply()

    lines = told(job_of(build), {})
    assert lines[1].startswith("  --> operator 'flat', made at ")


def test_a_function_of_pythons_own_names_the_operator(job_of: JobOf) -> None:
    lines = told(job_of(lambda env: env.from_requests("/x").map(json.loads).reply()), {})
    assert lines[1].startswith("  --> operator 'map-")
    assert lines[3].endswith(".map(json.loads).reply()), {})")


def fails(error: BaseException) -> Callable[[Any], Any]:
    def function(_value: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize("error", [asyncio.CancelledError(), Halt("now"), SystemExit(3)])
def test_what_is_no_exception_fails_its_record(job_of: JobOf, error: BaseException) -> None:
    for name in ("map", "filter", "flat_map"):

        def build(env: Any, name: str = name) -> None:
            getattr(env.from_requests("/x"), name)(fails(error)).reply()

        assert job_of(build).failure({}).cause is error


def test_ctrl_c_ends_the_process_unless_it_is_ignored(job_of: JobOf) -> None:
    job = job_of(lambda env: env.from_requests("/x").map(fails(KeyboardInterrupt())).reply())
    with pytest.raises(KeyboardInterrupt):
        job.feed({})
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a worker
    try:
        assert isinstance(job.failure({}).cause, KeyboardInterrupt)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [ValueError("no table"), Halt("now"), asyncio.CancelledError()])
def test_open_that_raises_shows_its_own_line_and_for_whom(job_of: JobOf, error: BaseException) -> None:
    class Lookup(MapFunction[Any, Any]):
        def open(self, runtime_context: Any) -> None:
            self.connect()

        def connect(self) -> None:
            raise error

        def map(self, value: Any) -> Any:
            return value

    with pytest.raises(JobError) as caught:
        job_of(lambda env: env.from_requests("/x").map(Lookup()).uid("lookup").reply())
    lines = render_error(caught.value).splitlines()
    assert lines[1].endswith(" in connect")
    assert lines[3].endswith("| raise error")
    assert lines[4].endswith("| ^^^^^^^^^^^")
    assert lines[5].endswith(" open")
    assert lines[6].startswith("  = called for operator ")
    assert ", made at " in lines[6]
    assert len(lines) == 8

"""Failures of a whole job, from the door to the log: whose line is shown, and what survives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mini_flink.datastream import MapFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor
from mini_flink.testing import JobHarness


class Halt(BaseException):
    """No Exception."""


def job(find_key: Callable[[Any], Any], run: Any) -> Callable[[], None]:
    def build() -> None:
        env = StreamExecutionEnvironment.get_execution_environment()
        keyed = env.from_requests("/x").key_by(find_key)
        keyed.map(run).uid("run").reply().uid("answer")
        env.execute("failing")

    return build


def only(harness: JobHarness) -> list[str]:
    (text,) = harness.log
    assert "mini_flink" not in text
    assert len(text.splitlines()) <= 10
    harness.log.clear()
    return text.splitlines()


def raises(error: BaseException) -> Callable[[Any], Any]:
    def function(_value: Any) -> Any:
        raise error

    return function


def test_a_key_of_no_use_is_told_with_the_line_of_the_key_by() -> None:
    with JobHarness(job(lambda value: value["key"], lambda value: value)) as harness:
        assert harness.post("/x", {"key": 1.5}).status == 500
        lines = only(harness)
        assert lines[1].startswith("  --> operator 'run', made at ")
        assert lines[3].endswith('| keyed = env.from_requests("/x").key_by(find_key)')
        assert harness.post("/x", {"key": "a"}).status == 200


@pytest.mark.parametrize("error", [Halt("now"), SystemExit(1), ValueError("no")])
def test_whatever_user_code_raises_fails_its_record_only(error: BaseException) -> None:
    with JobHarness(job(lambda value: value["key"], raises(error))) as harness:
        assert harness.post("/x", {"key": "a"}).status == 500
        assert only(harness)[0].endswith(" in operator run")
    with JobHarness(job(raises(error), lambda value: value)) as harness:
        assert harness.post("/x", {"key": "a"}).status == 500
        assert only(harness)[3].endswith("| raise error")


def test_ctrl_c_in_user_code_stops_the_harness() -> None:
    interrupted = job(lambda value: value["key"], raises(KeyboardInterrupt()))
    with JobHarness(interrupted) as harness, pytest.raises(KeyboardInterrupt):
        harness.post("/x", {"key": "a"})


class Hoarder(MapFunction[Any, Any]):
    """Keeps more than a commit holds."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.kept = runtime_context.get_state(ValueStateDescriptor("kept", str))

    def map(self, value: Any) -> Any:
        self.kept.update("x" * value["size"])
        return value


def test_a_commit_over_its_limit_is_told_with_the_operators_line() -> None:
    with JobHarness(job(lambda value: value["key"], Hoarder()), commit_limit_bytes=100_000) as harness:
        for size in (200_000, 300_000):
            assert harness.post("/x", {"key": "a", "size": size}).status == 500
        lines = only(harness)
        assert lines[0].startswith("its outputs and state changes take 2")
        assert lines[0].endswith("more than a commit may hold, in operator run")
        assert lines[1].startswith("  --> operator 'run', made at ")
        assert lines[3].endswith('| keyed.map(run).uid("run").reply().uid("answer")')


def test_different_mistakes_without_a_line_are_not_repeats() -> None:
    def answers(value: Any) -> Any:
        return float("nan") if value["nan"] else object()

    with JobHarness(job(lambda value: value["key"], answers)) as harness:
        for _ in range(3):
            for nan in (0, 1):
                assert harness.post("/x", {"key": "a", "nan": nan}).status == 500
        assert len(harness.log) == 2


def test_a_generator_that_is_closed_is_no_failure_of_its_own() -> None:
    closed: list[str] = []

    def results(value: Any) -> Iterator[Any]:
        try:
            yield value
        finally:
            closed.append("closed")

    def build() -> None:
        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_requests("/x").flat_map(results).map(raises(Halt())).uid("halt").reply()
        env.execute("closing")

    with JobHarness(build) as harness:
        assert harness.post("/x", {}).status == 500
        assert only(harness)[0].endswith("in operator halt")
    assert closed == ["closed"]

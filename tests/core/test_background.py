"""Background work, real and twin: it runs, tells of its end, and of a full disk as of any failure."""

from __future__ import annotations

import select

import pytest

from mini_flink.errors import StorageFullError
from mini_flink.worker.background import Background, InlineBackground, Outcome, ThreadBackground


@pytest.fixture(params=[ThreadBackground, InlineBackground])
def background(request: pytest.FixtureRequest) -> Background:
    made: Background = request.param()
    return made


def test_what_was_submitted_is_done_in_order(background: Background) -> None:
    done: list[int] = []
    for number in range(5):
        background.submit(f"work {number}", lambda number=number: done.append(number))  # type: ignore[misc]
    background.join()
    assert done == [0, 1, 2, 3, 4]
    assert background.outcomes() == [Outcome(f"work {number}", None) for number in range(5)]
    assert background.outcomes() == []


@pytest.mark.parametrize("error", [StorageFullError("full"), OSError(5, "input/output error")])
def test_a_failure_is_an_outcome(background: Background, error: Exception) -> None:
    def fail() -> None:
        raise error

    background.submit("flush", fail)
    background.join()
    assert background.outcomes() == [Outcome("flush", error)]


def test_the_thread_wakes_whoever_waits() -> None:
    background = ThreadBackground()
    background.submit("flush", lambda: None)
    assert select.select([background.fileno()], [], [], 10)[0]
    assert len(background.outcomes()) == 1
    assert not select.select([background.fileno()], [], [], 0)[0]

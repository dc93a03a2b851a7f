"""Several workers are asked, one answer comes of it; no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mini_flink.supervisor.questions import AT_ONCE, OF_WORKERS, Questions
from mini_flink.worker.process import LOOKS


def test_every_question_to_workers_is_answered_there() -> None:
    assert OF_WORKERS.keys() == LOOKS.keys()


def test_answers_are_joined_and_stale_ones_are_not_heard() -> None:
    questions, told = Questions(), list[Mapping[str, Any]]()
    number = questions.begin(["w0", "w1"], told.append)
    questions.take("w0", {"id": number - 1, "retried": 9})
    questions.take("w0", {"id": number, "retried": 1})
    questions.take("w0", {"id": number, "retried": 1})
    assert told == []
    questions.take("w1", {"id": number, "retried": 2})
    assert told == [{"ok": True, "retried": 3}]


def test_several_may_be_open_and_each_hears_its_own() -> None:
    questions = Questions()
    told: list[list[Mapping[str, Any]]] = [[] for _ in range(AT_ONCE)]
    numbers = [questions.begin(["w0", f"w{each + 1}"], told[each].append) for each in range(AT_ONCE)]
    assert questions.busy
    for number in reversed(numbers):
        questions.take("w0", {"id": number, "rows": [number]})
    questions.take("w1", {"id": numbers[0], "rows": [0]})
    assert told[0] == [{"ok": True, "rows": [numbers[0], 0]}]
    assert not questions.busy
    questions.died("w2")
    assert [[answer["ok"] for answer in answers] for answers in told] == [
        [True],
        [False],
        *[[]] * (AT_ONCE - 2),
    ]


def test_the_asker_hears_that_a_worker_died_before_it_answered() -> None:
    questions, told = Questions(), list[Mapping[str, Any]]()
    number = questions.begin(["w0", "w1"], told.append)
    questions.take("w0", {"id": number, "retried": 1})
    questions.died("w0")
    assert told == []
    questions.died("w1")
    questions.take("w1", {"id": number, "retried": 1})
    ((answer),) = told
    assert not answer["ok"]
    assert "w1 ended" in answer["reason"]

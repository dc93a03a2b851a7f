"""Questions that go to workers: the answers to each become one. A machine without sockets or clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mini_flink.errors import EXIT_TRY_AGAIN
from mini_flink.supervisor import owners
from mini_flink.supervisor.spec import ServerPlan

Answer = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class OfWorkers:
    """A question that workers answer: what it is about, what may be asked to be done, what travels along.

    ``gives_work``: those of the deeds after which workers have records to run.
    ``whom`` tells which workers it is for.
    """

    subject: str
    deeds: tuple[str, ...]
    fields: tuple[str, ...]
    gives_work: tuple[str, ...] = ()
    whom: Callable[[ServerPlan, Mapping[str, Any]], Iterable[int]] = owners.all_workers


OF_WORKERS: Mapping[str, OfWorkers] = {
    "dead_letters": OfWorkers(
        "dead letters", ("list", "show", "retry", "drop"), ("ids", "operator"), gives_work=("retry",)
    ),
    "state": OfWorkers(
        "state",
        ("get", "scan"),
        ("operator", "state", "key", "limit", "after"),
        whom=owners.owners_of,
    ),
}
"""By the name under which it is asked; who answers it in a worker stands in ``worker.process``."""


AT_ONCE = 16
"""Questions that may be open; one more is refused."""


@dataclass(slots=True)
class _Open:
    """A question whose answers are not all there."""

    waiting: set[str]
    answer: Answer
    tell: Answer
    count: int
    told: dict[str, Any] = field(default_factory=dict)


def progress(done: int, total: int, unit: str) -> dict[str, Any]:
    """What an asker is told of how far something is."""
    return {"progress": {"done": done, "total": total, "unit": unit}}


def _nobody(_: Mapping[str, Any]) -> None:
    """Hears nothing."""


class Questions:
    """``answer`` of each is called once."""

    def __init__(self) -> None:
        self._number = 0
        self._open: dict[int, _Open] = {}

    @property
    def busy(self) -> bool:
        """Whether no other question may be opened."""
        return len(self._open) >= AT_ONCE

    def begin(self, workers: Iterable[str], answer: Answer, tell: Answer = _nobody) -> int:
        """Open a question to ``workers``; the number that it carries. ``tell`` hears who has answered."""
        self._number += 1
        asked = set(workers)
        self._open[self._number] = _Open(asked, answer, tell, len(asked))
        return self._number

    def take(self, worker: str, data: Mapping[str, Any]) -> None:
        """One worker's answer: numbers are added up, lists joined; a reason is a refusal of the whole."""
        question = self._open.get(data["id"])
        if question is None or worker not in question.waiting:
            return
        question.waiting.remove(worker)
        if "reason" in data:
            told = {"ok": False, "reason": f"{worker}: {data['reason']}", "exit_code": data["exit_code"]}
            self._end(data["id"], told)
            return
        told = question.told
        for name, value in data.items():
            if name != "id":
                told[name] = told[name] + value if name in told else value
        if question.waiting:
            count = question.count
            question.tell(progress(count - len(question.waiting), count, "workers"))
        else:
            self._end(data["id"], {"ok": True, **told})

    def died(self, worker: str) -> None:
        """A worker ended; if its answer was waited for, nobody knows how far it came."""
        for number in [number for number, question in self._open.items() if worker in question.waiting]:
            self._end(
                number,
                {
                    "ok": False,
                    "reason": f"{worker} ended before it answered",
                    "help": "ask again in a moment: what was done is durable and not done twice",
                    "exit_code": EXIT_TRY_AGAIN,
                },
            )

    def _end(self, number: int, told: Mapping[str, Any]) -> None:
        self._open.pop(number).answer(told)

"""A question that goes to all workers: their answers become one. A machine without sockets or clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mini_flink.errors import EXIT_TRY_AGAIN

Answer = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class OfWorkers:
    """A question that workers answer: what it is about, what may be asked to be done, what travels along.

    ``gives_work``: those of the deeds after which workers have records to run.
    """

    subject: str
    deeds: tuple[str, ...]
    fields: tuple[str, ...]
    gives_work: tuple[str, ...] = ()


OF_WORKERS: Mapping[str, OfWorkers] = {
    "dead_letters": OfWorkers(
        "dead letters", ("list", "show", "retry", "drop"), ("ids", "operator"), gives_work=("retry",)
    ),
}
"""By the name under which it is asked; who answers it in a worker stands in ``worker.process``."""


class Questions:
    """At most one question at a time; ``answer`` of the one that is open is called once."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: set[str] = set()
        self._told: dict[str, Any] = {}
        self._answer: Answer | None = None

    @property
    def busy(self) -> bool:
        """Whether a question is open."""
        return self._answer is not None

    def begin(self, workers: Iterable[str], answer: Answer) -> int:
        """Open a question to ``workers``; the number that it carries."""
        self._number += 1
        self._waiting = set(workers)
        self._told = {}
        self._answer = answer
        return self._number

    def take(self, worker: str, data: Mapping[str, Any]) -> None:
        """One worker's answer: numbers are added up, lists joined; a reason is a refusal of the whole."""
        if data["id"] != self._number or worker not in self._waiting:
            return
        self._waiting.remove(worker)
        if "reason" in data:
            self._end({"ok": False, "reason": f"{worker}: {data['reason']}", "exit_code": data["exit_code"]})
            return
        for name, value in data.items():
            if name != "id":
                self._told[name] = self._told[name] + value if name in self._told else value
        if not self._waiting:
            self._end({"ok": True, **self._told})

    def died(self, worker: str) -> None:
        """A worker ended; if its answer was waited for, nobody knows how far it came."""
        if worker in self._waiting:
            self._end(
                {
                    "ok": False,
                    "reason": f"{worker} ended before it answered",
                    "help": "ask again in a moment: what was done is durable and not done twice",
                    "exit_code": EXIT_TRY_AGAIN,
                }
            )

    def _end(self, told: Mapping[str, Any]) -> None:
        answer, self._answer = self._answer, None
        self._waiting = set()
        if answer is not None:
            answer(told)

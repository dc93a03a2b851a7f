"""Where commands and the admin process ask: the desk takes questions, each asker hears the end of its own.

Owns the ways to the askers and the questions that workers have open. Which question is whose stands in
the table that ``loop`` gives; one for the workers is a line in ``questions.OF_WORKERS`` and one in
``worker.process``. The other side is ``asking``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mini_flink import procfs, wire
from mini_flink.errors import EXIT_TRY_AGAIN, MiniFlinkError, told_of
from mini_flink.failures import printable
from mini_flink.procfs import Process
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.members import READY
from mini_flink.supervisor.questions import OF_WORKERS, Answer, Questions
from mini_flink.transport.base import Transport

ASKER_MS = 5_000
"""How long the way to an asker stays open after the last word: closing at once would drop it unsent."""


@dataclass(frozen=True, slots=True)
class Question:
    """``tell`` may be called often, before the one call of ``answer``."""

    what: str
    data: Mapping[str, Any]
    tell: Answer
    answer: Answer
    asker: Process | None = None

    @property
    def by(self) -> str:
        """Who asks, as it ends a sentence: `` by ann (pid 4711)``; empty where nobody has."""
        who = self.data.get("who")
        return f" by {printable(str(who))}" if who else ""

    @property
    def is_left(self) -> bool:
        """Whether whoever asked has ended, and nobody hears the answer."""
        return self.asker is not None and not procfs.is_alive(self.asker)

    def refuse(self, reason: str, help: str = "") -> None:
        """Not now: it may be asked again."""
        self.answer({"ok": False, "reason": reason, "help": help, "exit_code": EXIT_TRY_AGAIN})


Handler = Callable[[Question], None]


class Desk:
    """``report`` is the answer to a status request."""

    def __init__(
        self,
        transport: Transport,
        fleet: Fleet,
        handlers: Mapping[str, Handler],
        report: Callable[[], dict[str, Any]],
    ) -> None:
        self._transport = transport
        self._fleet = fleet
        self._handlers = handlers
        self._report = report
        self._of_workers = Questions()
        self._leaving: dict[str, int] = {}
        self._now_ms = 0

    def take(self, message: wire.Control, now_ms: int) -> None:
        """A message from an asker: a request that takes a while, or for the report."""
        self._now_ms = now_ms
        asker = message.sender
        self._transport.connect(asker, str(message.data["endpoint"]))
        if message.kind == wire.STATUS:
            self._send_last(asker, wire.STATUS_REPLY, self._report())
            return

        def tell(told: Mapping[str, Any]) -> None:
            self._transport.send(asker, self._fleet.control(wire.TOLD, dict(told)))

        def answer(told: Mapping[str, Any]) -> None:
            self._send_last(asker, wire.TOLD, {"done": True, **told})

        question = Question(str(message.data["what"]), message.data, tell, answer, _asker(message.data))
        self._handlers.get(question.what, _unknown)(question)

    def ask_workers(self, question: Question) -> None:
        """Each of those that it is for answers between two of its batches."""
        asked, do = OF_WORKERS[question.what], question.data.get("do")
        if do not in asked.deeds:  # an unknown word must not be taken for one that changes something
            answer = f"{asked.subject} cannot be asked to {do!r}, only to {', '.join(asked.deeds)}"
            question.answer({"ok": False, "reason": answer})
            return
        try:
            chosen = set(asked.whom(self._fleet.plan, question.data))
        except MiniFlinkError as error:
            question.answer({"ok": False, **told_of(error)})
            return
        workers = [worker for worker in self._fleet.workers if worker.index in chosen]
        reason = ""
        if self._of_workers.busy:
            reason = "too many questions are being answered"
        elif any(worker.state != READY for worker in workers):
            reason = "a worker is being started again"
        if reason:
            question.refuse(reason, help="ask again in a moment")
            return
        names = [worker.name for worker in workers]
        number = self._of_workers.begin(names, question.answer, question.tell)
        fields = {name: question.data.get(name) for name in asked.fields}
        order = {"id": number, "what": question.what, "do": do, **fields}
        self._fleet.send(workers, wire.LOOK, order)

    def take_answer(self, worker: str, data: Mapping[str, Any], now_ms: int) -> None:
        """What one worker says to the question that is open."""
        self._now_ms = now_ms
        self._of_workers.take(worker, data)

    def died(self, member: str, now_ms: int) -> None:
        """A process has ended: it answers nothing more."""
        self._now_ms = now_ms
        self._of_workers.died(member)

    def step(self, now_ms: int) -> None:
        """Close the ways to those who have heard the end."""
        self._now_ms = now_ms
        for asker in [asker for asker, until_ms in self._leaving.items() if until_ms <= now_ms]:
            del self._leaving[asker]
            self._transport.disconnect(asker)

    def due_ms(self) -> int | None:
        """When ``step`` is to be called next."""
        return min(self._leaving.values(), default=None)

    def _send_last(self, asker: str, kind: int, data: dict[str, Any]) -> None:
        self._transport.send(asker, self._fleet.control(kind, data))
        self._leaving[asker] = self._now_ms + ASKER_MS


def _asker(data: Mapping[str, Any]) -> Process | None:
    """Who asks, if this process can see it: not so from another namespace of process ids."""
    asker = Process(*data["asker"]) if "asker" in data else None
    return asker if asker is not None and procfs.is_alive(asker) else None


def _unknown(question: Question) -> None:
    question.answer({"ok": False, "reason": f"this server knows no {question.what}"})

"""``drain`` and ``resume``: an operator closes the door of a running server, and opens it again.

Owns whether the door is open, who waits for the server to come to rest, and what is said of it. The order of
things is that of ``core.drain``; a gateway that is started meanwhile has it from its specification that the
door is closed. Nothing of it is durable: the next start of the server opens the door. Called by ``loop``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mini_flink import console, wire
from mini_flink.core.drain import CLOSING, DRAINED, OPEN, OPENING, SETTLING, Drain, Order
from mini_flink.errors import EXIT_TRY_AGAIN
from mini_flink.supervisor import words
from mini_flink.supervisor.desk import Question
from mini_flink.supervisor.events import EventRing
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.members import Member
from mini_flink.supervisor.report import pending_requests, total

TELL_MS = 1_000


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who waits until all is at rest, at most until ``until_ms``."""

    question: Question
    until_ms: int | None


class DrainDirector:
    """The door of one fleet; ``stop`` ends the server, for whoever wants that after a drain."""

    def __init__(self, fleet: Fleet, events: EventRing, stop: Callable[[], None]) -> None:
        self._fleet = fleet
        self._events = events
        self._stop = stop
        self._drain = Drain()
        self._askers: list[_Asker] = []
        self._resumers: list[Question] = []
        self._began_ms = self._now_ms = 0
        self._seconds: float | None = None
        self._tell_due_ms = 0
        self._at_rest = False
        self._told: dict[str, dict[str, int]] = {}

    # --- what is asked ----------------------------------------------------------------------------------

    def ask(self, question: Question, now_ms: int) -> None:
        """Close the door; the answer comes when all is at rest behind it."""
        self._now_ms = now_ms
        timeout_s = question.data.get("timeout_s")
        until_ms = None if timeout_s is None else now_ms + int(timeout_s * 1000)
        asker = _Asker(question, until_ms)
        if self._drain.phase == DRAINED:
            self._end([asker], already=True)
            return
        self._askers.append(asker)
        self._tell_due_ms = now_ms
        if self._drain.phase in (OPEN, OPENING):
            self._begin(question.by)

    def _begin(self, by: str) -> None:
        self._began_ms = self._now_ms
        self._told = {}
        self._seconds = None
        pending = pending_requests(self._fleet)
        said = words.draining(pending, by)
        console.event("info", said, name="server.draining", pending=pending)
        self._events.note("server.draining", "info", said)
        self._refuse(self._resumers, "the server is drained again")
        self._resumers = []
        self._fleet.draining = True
        self._carry_out(self._drain.close(*self._names()))

    def resume(self, question: Question, now_ms: int) -> None:
        """Open the door; the answer comes when every gateway has done so."""
        self._now_ms = now_ms
        if self._drain.phase == OPEN:
            question.answer({"ok": True, "state": "serving", "already": True})
            return
        self._resumers.append(question)
        self._refuse([asker.question for asker in self._askers], "the server was resumed meanwhile")
        self._askers = []
        if self._drain.phase != OPENING:
            self._fleet.draining = False
            self._carry_out(self._drain.open())

    def stopping(self) -> None:
        """The server ends: nobody need wait for anything else."""
        why = "the server is told to stop"
        self._refuse([*(asker.question for asker in self._askers), *self._resumers], why)
        self._askers, self._resumers = [], []

    def _refuse(self, questions: Iterable[Question], why: str) -> None:
        for question in questions:
            question.refuse(why, help="see how it stands: python -m mini_flink status")

    # --- how it stands ----------------------------------------------------------------------------------

    @property
    def shown(self) -> str:
        """The state of the server as far as the door goes; empty while it is open."""
        return {OPEN: "", CLOSING: "draining", SETTLING: "draining"}.get(self._drain.phase, "drained")

    @property
    def under_way(self) -> bool:
        """Whether it is neither open nor at rest."""
        return self._drain.phase not in (OPEN, DRAINED)

    def _progress(self) -> dict[str, object]:
        pending = pending_requests(self._fleet)
        records = total(self._fleet.workers, "pending")
        closing = self._drain.phase == CLOSING
        text = words.requests_in_flight(pending) if closing else words.coming_to_rest(records)
        members = [*self._fleet.gateways, *self._fleet.workers]
        missing = [member.title for member in members if member.name in self._drain.awaited]
        return {"text": f"{text}; {words.still_starting(missing)}", "pending": pending, "records": records}

    # --- who says or does what --------------------------------------------------------------------------

    def take(self, member: Member, message: wire.Control, now_ms: int) -> None:
        """A gateway or a worker has done what it was told."""
        self._now_ms = now_ms
        data = message.data
        if message.kind == wire.DRAINED:
            mark = (member.incarnation, data["ran"])
            self._carry_out(self._drain.take_worker(member.name, data["number"], mark))
            return
        if self._drain.phase == CLOSING:  # counted from when it closed its door, however often it says so
            self._told[member.address] = {name: data[name] for name in ("answered", "timed_out")}
        self._carry_out(self._drain.take_gateway(member.name, data["number"]))

    def died(self, member: Member, now_ms: int) -> None:
        """It will be started again."""
        self._now_ms = now_ms
        self._carry_out(self._drain.died(member.name))

    def ready(self, member: Member, now_ms: int) -> None:
        """It has come up."""
        self._now_ms = now_ms
        self._carry_out(self._drain.ready(member.name))

    def disturbed(self, now_ms: int) -> None:
        """Somebody has given workers something to do behind the closed door."""
        self._now_ms = now_ms
        self._carry_out(self._drain.disturbed())

    def changed(self, now_ms: int) -> None:
        """Others are the server now, or may have been restarted since: all have to say how it stands."""
        self._now_ms = now_ms
        if self._drain.phase != OPEN:
            self._carry_out(self._drain.close(*self._names()))

    def _names(self) -> tuple[list[str], list[str]]:
        fleet = self._fleet
        return [member.name for member in fleet.gateways], [member.name for member in fleet.workers]

    def _carry_out(self, orders: Iterable[Order]) -> None:
        members = [*self._fleet.gateways, *self._fleet.workers]
        for order in orders:
            running = [member for member in members if member.name in order.receivers and member.running]
            self._fleet.send(running, order.kind, order.data)
        came_to_rest = self._drain.phase == DRAINED and not self._at_rest
        self._at_rest = self._drain.phase == DRAINED
        if came_to_rest:
            self._drained()
        elif self._drain.phase == OPEN and self._resumers:
            self._resumed()

    # --- the end of it ----------------------------------------------------------------------------------

    def _drained(self) -> None:
        is_first = self._seconds is None
        self._seconds = self._seconds or (self._now_ms - self._began_ms) / 1000
        totals = self._totals()
        said = words.drained(self._seconds, totals) if is_first else words.DRAINED_AGAIN
        facts: dict[str, Any] = {"seconds": self._seconds, **totals}
        console.event("ok", said, name="server.drained", **facts)
        self._events.note("server.drained", "ok", said)
        askers, self._askers = self._askers, []
        self._end(askers, already=not is_first)

    def _end(self, askers: Sequence[_Asker], *, already: bool) -> None:
        told = {"ok": True, "state": "drained", "already": already, "seconds": self._seconds}
        for asker in askers:
            asker.question.answer({**told, **self._totals()})
        if any(asker.question.data.get("stop") for asker in askers):
            self._stop()

    def _totals(self) -> dict[str, int]:
        """What has become of those who were in flight when the door was closed."""
        return {name: sum(told[name] for told in self._told.values()) for name in ("answered", "timed_out")}

    def _resumed(self) -> None:
        said = f"resumed{self._resumers[0].by}: requests are let in again"
        console.event("ok", said, name="server.resumed")
        self._events.note("server.resumed", "ok", said)
        resumers, self._resumers = self._resumers, []
        for question in resumers:
            question.answer({"ok": True, "state": "serving", "already": False})

    # --- time -------------------------------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """Tell those who wait how it goes, and let go of those who have waited long enough."""
        self._now_ms = now_ms
        if not self._askers:
            return
        told = self._progress()
        late = [asker for asker in self._askers if asker.until_ms is not None and asker.until_ms <= now_ms]
        self._askers = [asker for asker in self._askers if asker not in late]
        for asker in late:
            seconds = asker.question.data["timeout_s"]
            asker.question.answer(
                {
                    "ok": False,
                    "reason": f"after {seconds:g} s it is not drained: {told['text']}",
                    "help": "the door stays closed and the rest goes on; drain again, or resume",
                    "exit_code": EXIT_TRY_AGAIN,
                }
            )
        if now_ms >= self._tell_due_ms:
            self._tell_due_ms = now_ms + TELL_MS
            for asker in self._askers:
                asker.question.tell(told)

    def due_ms(self) -> int | None:
        """When ``step`` is to be called next."""
        if not self._askers:
            return None
        limits = [asker.until_ms for asker in self._askers if asker.until_ms is not None]
        return min([self._tell_due_ms, *limits])

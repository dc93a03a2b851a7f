"""Rescale, upgrade and reload as they are asked for: one at a time, and its asker hears of its end.

Owns the ``Changeover`` that is under way, if there is one. While there is, no snapshot begins. Called by
``loop``.
"""

from __future__ import annotations

from collections.abc import Callable

from mini_flink import wire
from mini_flink.errors import MiniFlinkError, told_of
from mini_flink.folder import DataFolder
from mini_flink.supervisor.changeover import ENDED, Changeover, goal_of
from mini_flink.supervisor.desk import Question
from mini_flink.supervisor.events import EventRing
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.members import Member
from mini_flink.supervisor.snapshots import SnapshotDirector


class ChangeDirector:
    """The changes of one server; ``ended`` is called whenever one is over, before its asker hears of it."""

    def __init__(
        self,
        folder: DataFolder,
        fleet: Fleet,
        snapshots: SnapshotDirector,
        events: EventRing,
        ended: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._fleet = fleet
        self._snapshots = snapshots
        self._events = events
        self._ended = ended
        self._changeover: Changeover | None = None
        self._question: Question | None = None

    @property
    def kind(self) -> str:
        """What is under way: ``rescale``, ``upgrade`` or ``reload``; empty if nothing is."""
        return self._changeover.kind if self._changeover else ""

    @property
    def sources(self) -> str:
        """Where stands what the job that is being loaded has read of the user's files; empty if none is."""
        return self._changeover.sources if self._changeover else ""

    @property
    def shown(self) -> str:
        """The same with how far it is, behind the state of the server: `` (rescale: copy)``."""
        return f" ({self._changeover.kind}: {self._changeover.phase})" if self._changeover else ""

    def begin(self, question: Question, now_ms: int) -> None:
        """The answer comes at its end."""
        if self._changeover is not None:
            question.refuse("the server is being rescaled or upgraded already", help="ask when it is over")
            return
        try:
            goal = goal_of(question.data)
        except MiniFlinkError as error:
            question.answer({"ok": False, **told_of(error)})
            return
        self._snapshots.suspend(f"the server is changed by {question.what}")
        changeover = Changeover(goal, self._folder, self._fleet, question.tell, question.by)
        self._changeover, self._question = changeover, question
        try:
            changeover.begin(now_ms)
        except MiniFlinkError as error:
            self._changeover = None
            self._snapshots.resume(self._fleet.plan)
            question.answer({"ok": False, **told_of(error)})
        else:
            kind = changeover.kind
            self._events.note("changeover.begun", "info", f"a {kind}{question.by} begins", kind=kind)

    def cancel(self, question: Question, now_ms: int) -> None:
        """Whoever asked for it hears that it was called off, in its own answer."""
        if self._changeover is None:
            question.refuse(
                "nothing is being changed", help="it may have ended just now: python -m mini_flink status"
            )
            return
        self._changeover.cancel("it was called off", now_ms)
        question.answer({"ok": True})

    def call_off_loading(self, reason: str, now_ms: int) -> None:
        """What is being loaded is not wanted any more."""
        if self._changeover is not None:
            self._changeover.call_off_loading(reason, now_ms)

    def stopping(self, now_ms: int) -> None:
        """The server ends: back to how it was, if that is still possible."""
        if self._changeover is not None:
            self._changeover.cancel("the server is told to stop", now_ms)

    def take_message(self, member: Member, message: wire.Control, now_ms: int) -> bool:
        """False if it is none of a change's."""
        return self._changeover is not None and self._changeover.take_message(member, message, now_ms)

    def take_exit(self, member: Member, status: int, now_ms: int) -> bool:
        """True if that was expected, or is dealt with."""
        return self._changeover is not None and self._changeover.take_exit(member, status, now_ms)

    def step(self, now_ms: int) -> None:
        """Go on with it, and see to its end."""
        changeover = self._changeover
        if changeover is None:
            return
        if self._question is not None and self._question.is_left:
            self._question = None
            changeover.cancel("whoever asked for it has ended", now_ms)
        changeover.step(now_ms)
        changeover.retry(now_ms)
        if changeover.phase == ENDED:
            self._changeover = None
            self._snapshots.resume(self._fleet.plan)
            self._ended()
            kind, result = changeover.kind, changeover.result
            by = changeover.by
            if result["ok"]:
                self._events.note("changeover.ended", "ok", f"the {kind}{by} is done", kind=kind)
            else:
                failed = f"the {kind}{by} failed: {result['reason']}"
                self._events.note("changeover.failed", "warn", failed, kind=kind)
            if self._question is not None:
                self._question.answer(result)
            self._folder.remove_older_generations()

    def due_ms(self) -> int | None:
        """When ``step`` is to be called next."""
        return self._changeover.due_ms() if self._changeover else None

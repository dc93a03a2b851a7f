"""Carries out what the engine asks for: log, table, transport and background work around one engine.

The same code runs in the worker process, in the local runner, in the test harness and in the simulation, on
real devices or their twins. It holds no number, acknowledgement or epoch of its own: it only keeps the order
of the engine's effects. The names given to ``crash_point`` are where a test may have the process killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mini_flink import wire
from mini_flink.core.effects import Append, Connect, Effect, Flush, Recycle, Send, Sync
from mini_flink.core.engine import Engine
from mini_flink.errors import StorageFullError
from mini_flink.faults import crash_point
from mini_flink.state.base import CommitLog, Table, TableView
from mini_flink.transport.base import Transport
from mini_flink.worker.background import Background

RETRY_S = 1.0
_FLUSH, _PREPARE, _APPEND = "flush", "prepare", "append"


class Capture(NamedTuple):
    """This worker's part of an epoch: a view of its table as of the commit that ended the one before."""

    epoch: int
    commit_number: int
    view: TableView


def release(capture: Capture) -> None:
    """Nobody takes snapshots here."""
    capture.view.close()


class Host:
    """An engine and its devices. ``recover`` and ``secure`` come first, then ``turn`` for ever.

    ``captured`` is given each part of a snapshot once it is in the table; whoever takes it closes the view.
    """

    def __init__(
        self,
        engine: Engine,
        log: CommitLog,
        table: Table,
        transport: Transport,
        background: Background,
        *,
        salvage: bool = False,
        captured: Callable[[Capture], None] = release,
    ) -> None:
        self.engine = engine
        self._captured = captured
        self._capture: Capture | None = None
        self._tail: list[tuple[int, bytes]] = []
        self._log = log
        self._salvage = salvage
        self._table = table
        self._transport = transport
        self._background = background
        self._held: deque[Effect] = deque()
        self._flushes: deque[Flush] = deque()
        self._now = 0.0
        self._running: set[str] = set()
        self._full: set[str] = set()
        self._retry_s: dict[str, float] = {}

    def recover(self) -> None:
        """Redo the log's tail; ``secure`` comes next."""
        commit_number = self._table.commit_number
        self._tail = list(self._log.recover(commit_number, salvage=self._salvage))
        self.engine.recover(commit_number, self._tail)
        crash_point("during_redo")

    def secure(self) -> int:
        """Make the redone tail durable again: what was read may have been in the page cache only.

        Until that is done nothing may be sent, acknowledged or recycled. How many commits were redone.
        StorageFullError leaves everything as it was: to be called again.
        """
        self._table.sync()
        crash_point("during_recovery")
        self._log.rewrite(self._tail)
        crash_point("after_recovery")
        redone, self._tail = len(self._tail), []
        return redone

    # --- one turn ---------------------------------------------------------------------------------------

    def receive(self, message: wire.Data, now: float) -> None:
        """Hand a message to the engine."""
        self.carry_out(self.engine.receive(message, now))

    def turn(self, now: float, now_ms: int) -> None:
        """One step of the engine with all that follows from it."""
        self._now = now
        for outcome in self._background.outcomes():
            self._take_outcome(outcome.name, outcome.error, now)
        self._retry(now)
        if not self._held:
            self.carry_out(self.engine.step(now, now_ms))
            if self._log.wants_preparation:
                self._submit(_PREPARE, now)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Do what the engine asked for, in its order."""
        pending = deque(effects)
        while pending:
            try:
                self._do(pending[0])
            except StorageFullError:
                # Nothing of the batch has left: it waits here until there is room for its commit.
                self._held = pending
                self._retry_s[_APPEND] = self._now + RETRY_S
                self._note_full(_APPEND, full=True)
                for refusal in self.engine.refusals():
                    self._do(refusal)
                return
            pending.popleft()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send(peer, message):
                self._transport.send(peer, message)
                crash_point("after_send")
            case Append(number, payload):
                self.engine.meter.committing(number, len(payload))
                self._log.append(number, payload)
                crash_point("after_log_write")
                if not self.engine.durable:
                    self.engine.meter.committed()
            case Sync():
                self.engine.meter.syncing()
                self._log.sync()
                self.engine.meter.committed()
                crash_point("before_send")
            case Connect(peer, endpoint):
                self._transport.connect(peer, endpoint)
            case Flush():
                if effect.snapshot:
                    crash_point("after_epoch")
                self._flushes.append(effect)
                self._submit(_FLUSH, self._now)
            case Recycle(number):
                crash_point("before_recycle")
                self._log.recycle(number)

    @property
    def is_held(self) -> bool:
        """Whether a batch waits for space for its commit."""
        return bool(self._held)

    # --- what runs beside the loop ------------------------------------------------------------------------

    def _submit(self, name: str, now: float) -> None:
        if name not in self._running and now >= self._retry_s.get(name, 0.0):
            self._running.add(name)
            self._background.submit(name, self._write_table if name == _FLUSH else self._log.prepare)

    def _write_table(self) -> None:
        flush = self._flushes[0]
        crash_point("mid_flush")
        self._table.write(flush.items.items(), flush.number)
        if flush.snapshot:
            self._capture = Capture(flush.snapshot, flush.number, self._table.open_view())

    def _take_outcome(self, name: str, error: Exception | None, now: float) -> None:
        self._running.discard(name)
        if isinstance(error, StorageFullError):
            self._retry_s[name] = now + RETRY_S
            self._note_full(name, full=True)
            return
        if error is not None:
            raise error
        self._retry_s.pop(name, None)
        self._note_full(name, full=False)
        if name == _FLUSH:
            self._flushes.popleft()
            self._table.renew()
            self._hand_over()
            if self._flushes:
                self._submit(_FLUSH, now)
            self.carry_out(self.engine.flushed())

    def _hand_over(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            crash_point("after_capture")
            self._captured(capture)

    def _note_full(self, name: str, *, full: bool) -> None:
        """Some step found no space, or finds it again; while any does not, no batch is taken."""
        (self._full.add if full else self._full.discard)(name)
        self.engine.set_storage_full(bool(self._full))

    def _retry(self, now: float) -> None:
        if self._flushes:
            self._submit(_FLUSH, now)
        if _PREPARE in self._full:
            self._submit(_PREPARE, now)
        if self._held and now >= self._retry_s.get(_APPEND, 0.0):
            held, self._held = self._held, deque()
            self._retry_s.pop(_APPEND, None)
            self._note_full(_APPEND, full=False)
            self.carry_out(held)

    def due_s(self, now: float) -> float | None:
        """When ``turn`` is to be called next if nothing arrives; None: no need."""
        if self._held:
            return self._retry_s.get(_APPEND, now)
        if self.engine.has_work:
            return now
        times = [time for name, time in self._retry_s.items() if name not in self._running]
        engine_due = self.engine.due_s()
        return min(times, default=engine_due) if engine_due is None else min([engine_due, *times])

    def close(self) -> bool:
        """The clean end: everything committed goes into the table, so that the next start redoes nothing.

        False if there was no space for it: then the log still holds what the table does not.
        """
        clean = self.flush_all()
        self._log.close()
        self._table.close()
        return clean

    def flush_all(self) -> bool:
        """Everything committed goes into the table; False if there is no space for it."""
        self._settle()
        if not self._flushes and not self._held and not self.engine.clean:
            self.carry_out([self.engine.freeze()])
            self._settle()
        return self.engine.clean and not self._held

    def _settle(self) -> None:
        """Until nothing runs, also what the end of one flush began."""
        while True:
            self._background.join()
            outcomes = self._background.outcomes()
            if not outcomes:
                return
            for outcome in outcomes:
                self._take_outcome(outcome.name, outcome.error, self._now)

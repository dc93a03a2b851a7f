"""The gateway's own half of the seam in ``port``: values become records, outcomes become answers.

Owns the way from a source's value to its target (key, key group, subtask) and those who wait at the door.
Never speaks HTTP and never touches a socket.
Used by the gateway's process and by the local runner.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from mini_flink import ids, keys, values, wire
from mini_flink.core.effects import Effect
from mini_flink.core.pending import Ended, Extra, Failed, Full, Outcome, PendingMap, Replied, TimedOut
from mini_flink.errors import is_interrupt
from mini_flink.events import Say
from mini_flink.failures import Failure, FailureLog, Notice, describe, explain, preview
from mini_flink.gateway import problem
from mini_flink.gateway.port import JSON_HEADERS, Answer, Done, Draining, Refused, Trace
from mini_flink.plan import Plan, SourcePlan

_NO_CONTENT = Answer(204, (), b"")
_RETRY_AFTER_S = 1
_HELD = "the service is being changed"
_DRAINING_RETRY_AFTER_S = 5
WAITING_LIMIT = 1024
"""Requests that may wait at the door, if the pending map has no more places than that."""


class DoorSettings(Protocol):
    """The settings that the door obeys, by their names in config."""

    @property
    def admission_wait_ms(self) -> int: ...
    @property
    def request_timeout_ms(self) -> int: ...


class _Target:
    """Where the values of one source go."""

    __slots__ = (
        "_max_parallelism", "_next", "_parallelism", "failed", "location", "selector", "stage", "taken",
        "timeout_s", "uid",
    )  # fmt: skip

    def __init__(self, source: SourcePlan, max_parallelism: int, timeout_ms: int) -> None:
        self._max_parallelism = max_parallelism
        self._parallelism = source.parallelism
        self._next = 0
        self.selector = source.selector
        self.taken = 0
        self.failed = 0
        self.stage = source.stage
        self.uid = source.target.uid
        self.location = source.location
        self.timeout_s = (source.request_options.timeout_ms or timeout_ms) / 1000

    def key(self, value: Any) -> bytes | None:
        """The key of a value; runs the user's key selector."""
        return None if self.selector is None else keys.encode_key(self.selector(value))

    def subtask(self, key: bytes | None) -> int:
        """The owner of a key, or the next in turn."""
        if key is None:
            self._next = (self._next + 1) % self._parallelism
            return self._next
        group = keys.key_group(key, self._max_parallelism)
        return keys.subtask_of_group(group, self._max_parallelism, self._parallelism)

    def rescale(self, source: SourcePlan) -> None:
        """The stage has another number of subtasks now."""
        self._parallelism = source.parallelism


class _AtDoor:
    """A request that waits to be let in: until ``expires_s``, for the worker of ``subtask``."""

    __slots__ = ("done", "enter", "expires_s", "find_subtask", "subtask", "trace")

    def __init__(
        self,
        expires_s: float,
        find_subtask: Callable[[], int],
        enter: Callable[[int], None],
        done: Done,
        trace: Trace | None,
    ) -> None:
        self.expires_s = expires_s
        self.find_subtask = find_subtask
        self.subtask = find_subtask()
        self.enter = enter
        self.done = done
        self.trace = trace


class GatewayIngress:
    """Takes requests in for one gateway (``Ingress``); ``wake`` is called when there is something to send."""

    def __init__(
        self,
        pending: PendingMap[Done],
        plan: Plan,
        folder_id: int,
        settings: DoorSettings,
        failures: FailureLog,
        say: Say,
        wake: Callable[[], None],
        *,
        explains: bool = False,
    ) -> None:
        """With ``explains`` clients hear what the log does of records that failed."""
        self._explains = explains
        self.ready = False
        self.closed = False
        self._pending = pending
        self._folder_id = folder_id
        self._admission_wait_s = settings.admission_wait_ms / 1000
        self._targets = {
            source.number: _Target(source, plan.max_parallelism, settings.request_timeout_ms)
            for source in plan.request_sources
        }
        self._workers = plan.workers
        self._plan = plan
        self._warned: set[int] = set()
        self._failures = failures
        self._say = say
        self._wake = wake
        self._queue: deque[_AtDoor] = deque()
        self._queue_due_s = math.inf
        self._holding = False
        self._draining = False
        self._turned_away = 0
        self._failed_count = 0

    # --- requests in ------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Would a request succeed now?"""
        return self.ready and not self.closed and not self._draining

    def submit(
        self, source: int, value: Any, timestamp_ms: int, done: Done, trace: Trace | None = None
    ) -> None:
        """Take ``value`` in as a record of ``source``; ``done`` hears what became of it."""
        self._submit(self._targets[source], None, value, timestamp_ms, done, trace)

    def submit_request(
        self,
        source: int,
        make_value: Callable[[str], Any],
        timestamp_ms: int,
        done: Done,
        trace: Trace | None = None,
    ) -> None:
        """The same for a value that holds its own request id."""
        pending = self._pending
        identity = pending.identity

        def make() -> Any:
            return make_value(
                ids.request_id(self._folder_id, pending.slot, identity.incarnation, pending.next_request)
            )

        self._submit(self._targets[source], make, make(), timestamp_ms, done, trace)

    def _submit(
        self,
        target: _Target,
        remake: Callable[[], Any] | None,
        value: Any,
        timestamp_ms: int,
        done: Done,
        trace: Trace | None,
    ) -> None:
        if self._draining:
            self._pending.counters.refused += 1
            self._wake()
            raise Draining("the server is being drained", _DRAINING_RETRY_AFTER_S)
        encoded = values.encode(value)
        now = time.monotonic()
        try:
            key = target.key(value)
        except BaseException as error:  # the user's key selector
            if isinstance(error, GeneratorExit) or is_interrupt(error):
                raise
            detail = [_detail(error, target, value)] if self._explains else []
            self._submit_failed(target, [encoded, *detail], error, now, timestamp_ms, done, trace)
            return

        def again(subtask: int) -> None:
            record = encoded if remake is None else values.encode(remake())
            self._enter(target, (subtask, key, record), time.monotonic(), timestamp_ms, done, trace)

        if self._holding:
            self._keep(_AtDoor(now + target.timeout_s, lambda: target.subtask(key), again, done, trace))
            return
        subtask = target.subtask(key)
        try:
            self._enter(target, (subtask, key, encoded), now, timestamp_ms, done, trace)
        except Full as full:
            expires_s = now + self._admission_wait_s
            self._refuse(full, _AtDoor(expires_s, lambda: target.subtask(key), again, done, trace))
        self._wake()

    def _enter(
        self,
        target: _Target,
        record: tuple[int, bytes | None, bytes],
        now: float,
        now_ms: int,
        done: Done,
        trace: Trace | None,
    ) -> None:
        """Into the pending map as (subtask, key, value); ``Full`` if there is no place."""
        context = b"" if trace is None else trace.context
        number = self._pending.submit(done, (target.stage, *record), target.timeout_s, now, now_ms, context)
        target.taken += 1
        if trace is not None:
            trace.let_in(self._request_id(number))

    def _request_id(self, number: int) -> str:
        pending = self._pending
        return ids.request_id(self._folder_id, pending.slot, pending.identity.incarnation, number)

    def watch_keys(self, hear: Callable[[Any], None]) -> None:
        """Let ``hear`` know each key that is selected here, before its record is let in."""
        for target in self._targets.values():
            if target.selector is not None:
                target.selector = _heard(target.selector, hear)

    def source_counts(self) -> dict[int, tuple[int, int, int]]:
        """Records in, out and failed of the sources that run in gateways only."""
        return {
            number: (target.taken, target.taken - target.failed, target.failed)
            for number, target in self._targets.items()
            if number != target.stage
        }

    def _submit_failed(
        self,
        target: _Target,
        about: list[Any],
        error: BaseException,
        now: float,
        timestamp_ms: int,
        done: Done,
        trace: Trace | None,
    ) -> None:
        """The key selector raised: the log says so here, a worker keeps the dead letter and answers."""

        def bury(_: int) -> None:
            self._bury(target, about, error, now, timestamp_ms, done, trace)

        pending = self._pending
        if self._holding:
            self._keep(_AtDoor(now + target.timeout_s, lambda: pending.next_request, bury, done, trace))
            return
        try:
            pending.check(pending.next_request % self._workers)
        except Full as full:  # before anything is said of an error id that would lead nowhere
            pending.counters.refused += 1
            raise Refused(full.reason, _RETRY_AFTER_S) from full
        bury(0)
        self._wake()

    def _bury(
        self,
        target: _Target,
        about: list[Any],
        error: BaseException,
        now: float,
        timestamp_ms: int,
        done: Done,
        trace: Trace | None,
    ) -> None:
        pending = self._pending
        self._failed_count += 1
        target.taken += 1
        target.failed += 1
        incarnation = pending.identity.incarnation
        error_id = f"g{pending.slot:x}-{incarnation:x}-{self._failed_count:x}"
        request_id = self._request_id(pending.next_request)
        trace_id = "" if trace is None else trace.trace_id
        failure = Failure(target.uid, error, "", request_id, error_id, target.location, trace_id)
        self.tell(self._failures.record(failure, timestamp_ms))
        value = wire.pack([error_id, target.uid, describe(error, target.location), *about])
        pending.submit_failed(done, target.stage, value, target.timeout_s, now, timestamp_ms)
        if trace is not None:
            trace.let_in(request_id)
            trace.failed(error, error_id)

    def tell(self, notices: Iterable[Notice]) -> None:
        """Say them."""
        for notice in notices:
            self._say("error", notice.text, name=notice.name, plain=notice.plain, **notice.fields)

    # --- the queue at the door --------------------------------------------------------------------------

    def _refuse(self, full: Full, waiting: _AtDoor) -> None:
        self._wake()  # a refusal is counted, and whoever looks wants to see it
        if not self._admission_wait_s or len(self._queue) >= max(self._pending.capacity, WAITING_LIMIT):
            raise Refused(full.reason, _RETRY_AFTER_S) from full
        self._line_up(waiting, full.reason)

    def _keep(self, waiting: _AtDoor) -> None:
        """Nobody is let in now: who comes waits, as long as for an answer, and takes a place."""
        if len(self._pending) + len(self._queue) >= self._pending.capacity:
            self._pending.counters.refused += 1
            self._turned_away += 1
            raise Refused("as many requests are pending as this gateway takes", _RETRY_AFTER_S)
        self._line_up(waiting, _HELD)
        self._wake()

    def _admit(self, now: float) -> None:
        """Let in who waits and fits; refuse who has waited long enough."""
        queue, self._queue = self._queue, deque()
        for waiting in queue:
            reason = self._let_in(waiting)
            if reason and waiting.expires_s <= now:
                self._pending.counters.refused += 1
                self._turned_away += self._holding
                waiting.done(problem.overloaded(_RETRY_AFTER_S, reason))
            elif reason:
                self._queue.append(waiting)
        self._queue_due_s = min((waiting.expires_s for waiting in self._queue), default=math.inf)

    def _let_in(self, waiting: _AtDoor) -> str:
        """Why a request cannot be let in now; empty once it is."""
        if self._holding:
            return _HELD
        try:
            self._pending.check(waiting.subtask % self._workers)
            waiting.enter(waiting.subtask)
        except Full as full:
            return full.reason
        return ""

    def _line_up(self, waiting: _AtDoor, reason: str) -> None:
        if waiting.trace is not None:
            waiting.trace.waits(reason)
        self._queue.append(waiting)
        self._queue_due_s = min(self._queue_due_s, waiting.expires_s)

    # --- drained by an operator -------------------------------------------------------------------------

    def drain(self) -> None:
        """Refuse whoever comes, and whoever still waits at the door, until ``resume``."""
        self._draining = True
        queue, self._queue = self._queue, deque()
        self._queue_due_s = math.inf
        for waiting in queue:
            self._pending.counters.refused += 1
            waiting.done(problem.draining(_DRAINING_RETRY_AFTER_S))
        self._wake()

    def resume(self) -> None:
        """Take requests in again."""
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether an operator has closed the door."""
        return self._draining

    @property
    def at_rest(self) -> bool:
        """Whether all that was let in has been worked off; while ``draining`` that comes about and stays."""
        return not self.pending

    # --- from one generation to the next ----------------------------------------------------------------

    def hold(self) -> None:
        """Number no new records: requests wait at the door until ``release``."""
        self._holding = True

    @property
    def holding(self) -> bool:
        """Whether nobody is let in now."""
        return self._holding

    @property
    def drained(self) -> bool:
        """Whether the workers have committed all that was let in before ``hold``."""
        return self._holding and self._pending.drained

    @property
    def pending(self) -> int:
        """Requests that wait for an answer, or to be let in."""
        return len(self._pending) + len(self._queue)

    def change_generation(self, generation: int, plan: Plan) -> None:
        """Other workers, or other numbers of subtasks; see ``PendingMap.change_generation``."""
        self._pending.change_generation(generation, plan.workers)
        self._plan = plan
        self._workers = plan.workers
        for source in plan.request_sources:
            self._targets[source.number].rescale(source)
        for waiting in self._queue:
            waiting.subtask = waiting.find_subtask()

    def release(self) -> int:
        """Let them in; how many had to be refused meanwhile."""
        self._holding = False
        self._admit(time.monotonic())
        self._wake()
        turned_away, self._turned_away = self._turned_away, 0
        return turned_away

    # --- messages and time ------------------------------------------------------------------------------

    def receive(self, messages: Iterable[wire.Data], now: float) -> list[Effect]:
        """Take messages from workers in, and answer whoever they are for."""
        outcomes: list[tuple[Done, Outcome]] = []
        effects: list[Effect] = []
        for message in messages:
            effects += self._pending.receive(message, now, outcomes)
        self._answer(outcomes)
        if self._queue:
            self._admit(now)
        return effects

    def tick(self, now: float) -> None:
        """Time out whoever has waited too long."""
        outcomes: list[tuple[Done, Outcome]] = []
        self._pending.expire(now, outcomes)
        self._answer(outcomes)
        if self._queue:
            self._admit(now)

    def due_s(self) -> float | None:
        """When ``tick`` and ``flush`` are due."""
        due = self._pending.due_s()
        if self._queue:
            due = self._queue_due_s if due is None else min(self._queue_due_s, due)
        return due

    def _answer(self, outcomes: list[tuple[Done, Outcome]]) -> None:
        for done, outcome in outcomes:
            if isinstance(outcome, Extra):
                self._warn_of_extra(outcome.operator)
            else:
                done(_answer_of(outcome))

    def _warn_of_extra(self, operator: int) -> None:
        if operator not in self._warned:
            self._warned.add(operator)
            node = self._plan.operators[operator]
            self._say(
                "warn",
                f"operator {node.uid!r} ({node.location}) replied to a request that was answered already: "
                "the first reply counts, later ones are dropped (said once per operator)",
                name="reply.extra",
                operator=node.uid,
                location=str(node.location),
            )


def _detail(error: BaseException, target: _Target, value: Any) -> dict[str, Any]:
    """What a client is told of a key selector that raised."""
    return {**explain(error, target.location), "record": preview(value), "key": ""}


def _heard(selector: Callable[[Any], Any], hear: Callable[[Any], None]) -> Callable[[Any], Any]:
    def select(value: Any) -> Any:
        key = selector(value)
        hear(key)
        return key

    return select


def _answer_of(outcome: Replied | Failed | Ended | TimedOut) -> Answer:
    if isinstance(outcome, Replied):
        return _reply(outcome)
    if isinstance(outcome, Failed):
        return problem.failed_record(outcome.error_id, outcome.operator, outcome.detail)
    return _NO_CONTENT if isinstance(outcome, Ended) else problem.timeout()


def _reply(outcome: Replied) -> Answer:
    if outcome.content_type == "application/json" and not outcome.headers:
        return Answer(outcome.status, JSON_HEADERS, outcome.body)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in outcome.headers]
    if outcome.content_type is not None:
        headers.insert(0, (b"content-type", outcome.content_type.encode("latin-1")))
    return Answer(outcome.status, tuple(headers), outcome.body)

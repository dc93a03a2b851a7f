"""The gateway's own half of the seam in ``port``: values become records, outcomes become answers.

Owns the way from a source's value to its target (key, key group, subtask) and those who wait at the door.
Never speaks HTTP and never touches a socket.
Used by the gateway's process and by the local runner.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from mini_flink import ids, keys, values, wire
from mini_flink.core.effects import Effect
from mini_flink.core.pending import Ended, Extra, Failed, Full, Outcome, PendingMap, Replied, TimedOut
from mini_flink.errors import is_interrupt
from mini_flink.failures import Failure, FailureLog, describe
from mini_flink.gateway import problem
from mini_flink.gateway.port import JSON_HEADERS, Answer, Done, Refused
from mini_flink.plan import Plan, SourcePlan

_NO_CONTENT = Answer(204, (), b"")
_RETRY_AFTER_S = 1
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

    __slots__ = ("_next", "_plan", "_source", "failed", "location", "stage", "taken", "timeout_s", "uid")

    def __init__(self, source: SourcePlan, plan: Plan, timeout_ms: int) -> None:
        self._source = source
        self._plan = plan
        self._next = 0
        self.taken = 0
        self.failed = 0
        self.stage = source.stage
        self.uid = source.target.uid
        self.location = source.location
        self.timeout_s = (source.request_options.timeout_ms or timeout_ms) / 1000

    def find(self, value: Any) -> tuple[int, bytes | None]:
        """The subtask and the key of a value; runs the user's key selector."""
        source = self._source
        if source.selector is None:
            self._next = (self._next + 1) % source.parallelism
            return self._next, None
        key = keys.encode_key(source.selector(value))
        group = keys.key_group(key, self._plan.max_parallelism)
        return keys.subtask_of_group(group, self._plan.max_parallelism, source.parallelism), key


class GatewayIngress:
    """Takes requests in for one gateway (``Ingress``); ``wake`` is called when there is something to send."""

    def __init__(
        self,
        pending: PendingMap[Done],
        plan: Plan,
        folder_id: int,
        settings: DoorSettings,
        failures: FailureLog,
        say: Callable[[str, str], None],
        wake: Callable[[], None],
    ) -> None:
        self.ready = False
        self.closed = False
        self._pending = pending
        self._folder_id = folder_id
        self._admission_wait_s = settings.admission_wait_ms / 1000
        self._targets = {
            source.number: _Target(source, plan, settings.request_timeout_ms)
            for source in plan.request_sources
        }
        self._workers = plan.workers
        self._plan = plan
        self._warned: set[int] = set()
        self._failures = failures
        self._say = say
        self._wake = wake
        self._queue: deque[tuple[float, int, Callable[[], None], Done]] = deque()
        self._failed_count = 0

    # --- requests in ------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Would a request succeed now?"""
        return self.ready and not self.closed

    def submit(self, source: int, value: Any, timestamp_ms: int, done: Done) -> None:
        """Take ``value`` in as a record of ``source``; ``done`` hears what became of it."""
        self._submit(self._targets[source], None, value, timestamp_ms, done)

    def submit_request(
        self, source: int, make_value: Callable[[str], Any], timestamp_ms: int, done: Done
    ) -> None:
        """The same for a value that holds its own request id."""
        pending = self._pending
        identity = pending.identity

        def make() -> Any:
            return make_value(
                ids.request_id(self._folder_id, pending.slot, identity.incarnation, pending.next_request)
            )

        self._submit(self._targets[source], make, make(), timestamp_ms, done)

    def _submit(
        self, target: _Target, remake: Callable[[], Any] | None, value: Any, timestamp_ms: int, done: Done
    ) -> None:
        encoded = values.encode(value)
        now = time.monotonic()
        try:
            subtask, key = target.find(value)
        except BaseException as error:  # the user's key selector
            if isinstance(error, GeneratorExit) or is_interrupt(error):
                raise
            self._submit_failed(target, encoded, error, now, timestamp_ms, done)
            return
        try:
            self._enter(target, (subtask, key, encoded), now, timestamp_ms, done)
        except Full as full:

            def again() -> None:
                record = encoded if remake is None else values.encode(remake())
                waited = (subtask, key, record)
                self._enter(target, waited, time.monotonic(), timestamp_ms, done)

            self._refuse(full, subtask % self._workers, again, done)
        self._wake()

    def _enter(
        self, target: _Target, record: tuple[int, bytes | None, bytes], now: float, now_ms: int, done: Done
    ) -> None:
        """Into the pending map as (subtask, key, value); ``Full`` if there is no place."""
        self._pending.submit(done, (target.stage, *record), target.timeout_s, now, now_ms)
        target.taken += 1

    def source_counts(self) -> dict[int, tuple[int, int, int]]:
        """Records in, out and failed of the sources that run in gateways only."""
        return {
            number: (target.taken, target.taken - target.failed, target.failed)
            for number, target in self._targets.items()
            if number != target.stage
        }

    def _submit_failed(
        self, target: _Target, encoded: bytes, error: BaseException, now: float, timestamp_ms: int, done: Done
    ) -> None:
        """The key selector raised: the log says so here, a worker keeps the dead letter and answers."""
        pending = self._pending
        try:
            pending.check(pending.next_request % self._workers)
        except Full as full:  # before anything is said of an error id that would lead nowhere
            pending.counters.refused += 1
            raise Refused(full.reason, _RETRY_AFTER_S) from full
        self._failed_count += 1
        target.taken += 1
        target.failed += 1
        incarnation = pending.identity.incarnation
        error_id = f"g{pending.slot:x}-{incarnation:x}-{self._failed_count:x}"
        request_id = ids.request_id(self._folder_id, pending.slot, incarnation, pending.next_request)
        failure = Failure(target.uid, error, "", request_id, error_id, target.location)
        text = self._failures.record(failure, timestamp_ms)
        if text:
            self._say("error", text)
        value = wire.pack([error_id, target.uid, describe(error, target.location), encoded])
        pending.submit_failed(done, target.stage, value, target.timeout_s, now, timestamp_ms)
        self._wake()

    # --- the queue at the door --------------------------------------------------------------------------

    def _refuse(self, full: Full, worker: int, again: Callable[[], None], done: Done) -> None:
        self._wake()  # a refusal is counted, and whoever looks wants to see it
        if not self._admission_wait_s or len(self._queue) >= max(self._pending.capacity, WAITING_LIMIT):
            raise Refused(full.reason, _RETRY_AFTER_S) from full
        self._queue.append((time.monotonic() + self._admission_wait_s, worker, again, done))

    def _admit(self, now: float) -> None:
        """Let in who waits and fits; refuse who has waited long enough."""
        waiting, self._queue = self._queue, deque()
        for entry in waiting:
            expires, worker, again, done = entry
            try:
                self._pending.check(worker)
            except Full as full:
                if expires <= now:
                    self._pending.counters.refused += 1
                    done(problem.overloaded(_RETRY_AFTER_S, full.reason))
                else:
                    self._queue.append(entry)
            else:
                again()

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
            due = min(self._queue[0][0], due) if due is not None else self._queue[0][0]
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
            )


def _answer_of(outcome: Replied | Failed | Ended | TimedOut) -> Answer:
    if isinstance(outcome, Replied):
        return _reply(outcome)
    if isinstance(outcome, Failed):
        return problem.failed_record(outcome.error_id, outcome.operator)
    return _NO_CONTENT if isinstance(outcome, Ended) else problem.timeout()


def _reply(outcome: Replied) -> Answer:
    if outcome.content_type == "application/json" and not outcome.headers:
        return Answer(outcome.status, JSON_HEADERS, outcome.body)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in outcome.headers]
    if outcome.content_type is not None:
        headers.insert(0, (b"content-type", outcome.content_type.encode("latin-1")))
    return Answer(outcome.status, tuple(headers), outcome.body)

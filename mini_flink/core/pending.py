"""The gateway's machine: requests in, records out, and replies matched to those who wait.

What it owns: the pending map with its capacity and deadlines, and the channels with the workers. What it
never does: HTTP, sockets, clocks. Who calls it: the gateway's loop, the local runner, the harness, the
simulation.

A request takes a slot and gives it back when all of its share is back, not when its client has been answered:
freeing it at 504 would let a slow job pile up work without bound. One worker's share of the slots is capped,
so that one dead partition does not refuse everyone. Nothing here is durable: a gateway's connections die with
it, and so may its memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

from mini_flink import wire
from mini_flink.core.base import Identity
from mini_flink.core.channel import Inbound, Outbound
from mini_flink.core.effects import Connect, Effect, Send
from mini_flink.core.shares import WHOLE, Outstanding
from mini_flink.ids import worker_name

ACK_AFTER_S = 0.02
_LINE_SLACK = 4096
RETAINED_BYTES = 64 << 20
"""What the gateway keeps for resending at most; beyond it the door is closed."""

Token = TypeVar("Token")


class Full(Exception):
    """The door is closed: ``reason`` says which limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Replied(NamedTuple):
    """The job answered."""

    status: int
    headers: list[list[str]]
    content_type: str | None
    body: bytes


class Extra(NamedTuple):
    """Another reply to a request that has been answered, from this operator; it was dropped."""

    operator: int


class Failed(NamedTuple):
    """A record of the request failed and is a dead letter; ``detail`` is for who develops the job only."""

    error_id: str
    operator: str
    detail: Mapping[str, Any] | None = None


class Ended(NamedTuple):
    """The request was worked off and nothing answered it."""


class TimedOut(NamedTuple):
    """No answer in time; whether it will be applied is unknown to the client."""


Outcome = Replied | Extra | Failed | Ended | TimedOut


@dataclass(slots=True)
class GatewayCounters:
    """What happened, for status and metrics; only ever raised."""

    requests: int = 0
    answered: int = 0
    refused: int = 0
    timed_out: int = 0
    late_replies: int = 0
    extra_replies: int = 0
    fenced: int = 0


class _Waiting(Generic[Token]):
    """One slot of the pending map."""

    __slots__ = ("link", "outstanding", "replied", "timed_out", "token")

    def __init__(self, token: Token, link: _Link) -> None:
        self.token = token
        self.link = link
        self.outstanding = Outstanding()
        self.replied = False
        self.timed_out = False


class _Link:
    """One worker as the gateway sees it."""

    __slots__ = ("ack_due_s", "flags", "full", "heard", "inbound", "incarnation", "outbound", "peer", "slots")

    def __init__(self, peer: str, window_bytes: int) -> None:
        self.peer = peer
        self.incarnation = 0
        self.inbound = Inbound()
        self.outbound = Outbound(window_bytes, lambda _: None)
        self.slots = 0
        self.flags = 0
        self.full = False
        self.heard = False
        self.ack_due_s: float | None = None


class PendingMap(Generic[Token]):
    """The requests that wait at this gateway. ``Token`` is whatever the owner finds its client by."""

    def __init__(
        self, identity: Identity, slot: int, workers: int, *, capacity: int, window_bytes: int = 4 << 20
    ) -> None:
        self.identity = identity
        self.counters = GatewayCounters()
        self.epoch = 0
        self.slot = slot
        self.capacity = capacity
        self._window_bytes = window_bytes
        self._open_channels(workers)
        self._waiting: dict[int, _Waiting[Token]] = {}
        self._deadlines: dict[float, deque[tuple[float, int]]] = {}
        self._next_request = 1

    def _open_channels(self, workers: int) -> None:
        self._worker_capacity = self.capacity if workers == 1 else max(1, self.capacity * 3 // 4)
        self._links = [_Link(worker_name(index), self._window_bytes) for index in range(workers)]
        self._by_name = {link.peer: link for link in self._links}

    def __len__(self) -> int:
        return len(self._waiting)

    # --- from one generation to the next ----------------------------------------------------------------

    @property
    def drained(self) -> bool:
        """Whether the workers have committed everything that was sent to them."""
        return all(link.outbound.acked + 1 == link.outbound.next for link in self._links)

    def abandon(self) -> None:
        """Forget who waits and what was sent: those workers were on trial, and are gone with all they did."""
        self._waiting.clear()
        self._open_channels(len(self._links))

    def change_generation(self, generation: int, workers: int) -> None:
        """Begin new channels with other workers; who waits goes on waiting.

        Only when ``drained``, and the old workers have stopped with nothing left for this gateway: what they
        had not finished is with the new ones.
        """
        if not self.drained:
            raise RuntimeError("records of the old generation are not committed")
        places = {id(link): index for index, link in enumerate(self._links)}
        self.identity = replace(self.identity, generation=generation)
        self._open_channels(workers)
        for waiting in self._waiting.values():
            waiting.link = self._links[places[id(waiting.link)] % workers]
            waiting.link.slots += 1

    @property
    def next_request(self) -> int:
        """The number that the next submitted request gets."""
        return self._next_request

    # --- requests in ------------------------------------------------------------------------------------

    def check(self, worker: int) -> None:
        """Raise ``Full`` if a request for ``worker`` would not be taken now."""
        link = self._links[worker]
        if len(self._waiting) >= self.capacity:
            raise Full("as many requests are pending as this gateway takes")
        if link.slots >= self._worker_capacity:
            raise Full(f"worker {worker} does not keep up")
        if link.full:
            raise Full(f"worker {worker} has no disk space left")
        if link.outbound.memory_bytes > RETAINED_BYTES:
            raise Full(f"worker {worker} has too many bytes to take in")

    def submit(
        self,
        token: Token,
        target: tuple[int, int, bytes | None, bytes],
        timeout_s: float,
        now: float,
        now_ms: int,
        context: bytes = b"",
    ) -> int:
        """Take a request in as one record for ``target`` (stage, subtask, key, value); its number.

        ``Full`` if the door is closed. The record leaves with the next ``due``. ``context`` is that of the
        trace that it belongs to, if any.
        """
        stage, subtask, key, value = target
        worker = subtask % len(self._links)
        return self._submit(token, (stage, subtask, key, value), worker, timeout_s, now, now_ms, context)

    def submit_failed(
        self, token: Token, stage: int, value: bytes, timeout_s: float, now: float, now_ms: int
    ) -> int:
        """Take in a request whose key selector raised: a worker buries it and answers."""
        worker = self._next_request % len(self._links)
        target = (stage, wire.FAILED_BEFORE_ROUTING, None, value)
        return self._submit(token, target, worker, timeout_s, now, now_ms, b"")

    def _submit(
        self,
        token: Token,
        target: tuple[int, int, bytes | None, bytes],
        worker: int,
        timeout_s: float,
        now: float,
        now_ms: int,
        context: bytes,
    ) -> int:
        try:
            self.check(worker)
        except Full:
            self.counters.refused += 1
            raise
        request = self._next_request
        self._next_request = request + 1
        deadline_ms = now_ms + int(timeout_s * 1000)
        header = (self.slot, self.identity.incarnation, request, deadline_ms, now_ms, WHOLE, 0)
        link = self._links[worker]
        number = link.outbound.append(wire.pack(target + header))
        if context:
            link.outbound.trace(number, context)
        link.slots += 1
        self._waiting[request] = _Waiting(token, link)
        line = self._deadlines.get(timeout_s)
        if line is None:
            line = self._deadlines[timeout_s] = deque()
        line.append((now + timeout_s, request))
        if len(line) > 2 * len(self._waiting) + _LINE_SLACK:
            kept = [entry for entry in line if entry[1] in self._waiting]
            self._deadlines[timeout_s] = deque(kept)
        self.counters.requests += 1
        return request

    # --- messages in ------------------------------------------------------------------------------------

    def meet(self, peer: str, incarnation: int, endpoint: str) -> list[Effect]:
        """The supervisor (or the worker itself) says where ``peer`` listens now."""
        link = self._by_name.get(peer)
        if link is None or incarnation <= link.incarnation:
            return []
        link.incarnation = incarnation
        link.full = False
        link.outbound.rewind(link.outbound.acked)
        return [Connect(peer, endpoint)]

    def hello(self) -> list[Effect]:
        """The first messages of this incarnation, so that workers start their session with it."""
        return [
            self._message(link, 0, [], self.identity.endpoint) for link in self._links if link.incarnation
        ]

    def receive(self, message: wire.Data, now: float, outcomes: list[tuple[Token, Outcome]]) -> list[Effect]:
        """Take a message in; what became of requests is appended to ``outcomes``."""
        link = self._by_name.get(message.sender)
        if link is None or message.generation != self.identity.generation:
            self.counters.fenced += 1
            return []
        effects: list[Effect] = []
        if message.incarnation > link.incarnation and message.endpoint:
            effects = self.meet(message.sender, message.incarnation, message.endpoint)
        if message.incarnation != link.incarnation or message.session > self.identity.incarnation:
            self.counters.fenced += 1
            return effects
        self.epoch = max(self.epoch, message.epoch)
        self._take_position(link, message, now)
        if message.records and message.session == self.identity.incarnation:
            self._take_records(link, message, now, outcomes)
        return effects

    @property
    def all_met(self) -> bool:
        """Whether every worker has spoken: it has recovered, a request would be taken."""
        return all(link.heard for link in self._links)

    def _take_position(self, link: _Link, message: wire.Data, now: float) -> None:
        link.heard = True
        link.full = bool(message.flags & wire.STORAGE_FULL)
        position = message.position if message.session == self.identity.incarnation else 0
        link.outbound.acknowledge(position, now)
        if message.flags & wire.RESEND:
            link.outbound.rewind(position)

    def _take_records(
        self, link: _Link, message: wire.Data, now: float, outcomes: list[tuple[Token, Outcome]]
    ) -> None:
        inbound = link.inbound
        _, records = inbound.accept(message.first, message.records)
        inbound.committed = inbound.received
        if link.ack_due_s is None:
            link.ack_due_s = now + ACK_AFTER_S
        if not records:
            link.ack_due_s = now
            if inbound.gap_to_report(message.first):
                link.flags |= wire.RESEND
        for record in records:
            self._take_answer(wire.unpack(record), outcomes)

    def _take_answer(self, answer: Sequence[Any], outcomes: list[tuple[Token, Outcome]]) -> None:
        kind = answer[0]
        if kind == wire.COMPLETION:
            for request, amount, level in answer[1]:
                self._give_back(request, amount, level, outcomes)
            return
        request, amount, level = answer[1:4]
        waiting = self._waiting.get(request)
        if waiting is None:
            return
        if waiting.replied:
            if kind == wire.REPLY:
                self.counters.extra_replies += 1
                outcomes.append((waiting.token, Extra(answer[8])))
        elif waiting.timed_out:
            self.counters.late_replies += 1
        else:
            self.counters.answered += 1
            outcomes.append(
                (waiting.token, Replied(*answer[4:8]) if kind == wire.REPLY else Failed(*answer[4:7]))
            )
        waiting.replied = True
        self._give_back(request, amount, level, outcomes)

    def _give_back(
        self, request: int, amount: int, level: int, outcomes: list[tuple[Token, Outcome]]
    ) -> None:
        waiting = self._waiting.get(request)
        if waiting is None or not waiting.outstanding.give_back(amount, level):
            return
        del self._waiting[request]
        waiting.link.slots -= 1
        if not (waiting.replied or waiting.timed_out):
            self.counters.answered += 1
            outcomes.append((waiting.token, Ended()))

    def statistics(self) -> dict[str, int]:
        """What happened since this incarnation began."""
        return {**asdict(self.counters), "resends": sum(link.outbound.resent for link in self._links)}

    # --- time and messages out --------------------------------------------------------------------------

    def expire(self, now: float, outcomes: list[tuple[Token, Outcome]]) -> None:
        """Time out whoever has waited too long; the slots stay taken until their shares are back."""
        for line in self._deadlines.values():
            while line and (line[0][0] <= now or line[0][1] not in self._waiting):
                waiting = self._waiting.get(line.popleft()[1])
                if waiting is not None and not waiting.replied:
                    waiting.timed_out = True
                    self.counters.timed_out += 1
                    outcomes.append((waiting.token, TimedOut()))

    def due(self, now: float) -> list[Effect]:
        """What is to be sent now: new records, lost tails, acknowledgements."""
        effects: list[Effect] = []
        for link in self._links:
            if not link.incarnation:
                continue
            outbound = link.outbound
            while (frame := outbound.frame(now)) is not None:
                effects.append(self._message(link, *frame))
            if (frame := outbound.overdue_frame(now)) is not None:
                # The peer may have missed who this is: a message like the first one.
                effects.append(self._message(link, *frame, self.identity.endpoint))
            if link.flags or (link.ack_due_s is not None and link.ack_due_s <= now):
                effects.append(self._message(link, 0, []))
        return effects

    def due_s(self) -> float | None:
        """When ``expire`` and ``due`` are to be called next if nothing comes before; None: no need."""
        times = [line[0][0] for line in self._deadlines.values() if line]
        for link in self._links:
            times.extend(time for time in (link.ack_due_s, link.outbound.due_s()) if time is not None)
        return min(times, default=None)

    def _message(self, link: _Link, first: int, records: list[bytes], endpoint: str = "") -> Send:
        who = self.identity
        flags, link.flags, link.ack_due_s = link.flags, 0, None
        outbound = link.outbound
        traces = outbound.traces(first, len(records)) if outbound.contexts else ()
        message = wire.encode_data(
            who.generation, who.name, who.incarnation, self.epoch, who.incarnation, first, records,
            link.inbound.committed, flags, endpoint, traces,
        )  # fmt: skip
        return Send(link.peer, message)

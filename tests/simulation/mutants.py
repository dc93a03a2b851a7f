"""Planted mistakes: each breaks one rule of the protocol, and the simulation must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from mini_flink import wire
from mini_flink.core.channel import Inbound, Outbound
from mini_flink.core.effects import Append, Effect, Send
from mini_flink.core.engine import Engine
from mini_flink.core.links import Link
from mini_flink.core.pending import PendingMap
from mini_flink.core.shares import Outstanding
from mini_flink.state import layout
from mini_flink.worker.host import Host
from tests.simulation.devices import SimLog
from tests.simulation.worlds import PLAIN, POWER

Mistake = Callable[[], Iterator[None]]


class Mutants(dict[str, Callable[[], AbstractContextManager[None]]]):
    """A decorator that collects mistakes by name, and the kinds of worlds that can notice each."""

    def __init__(self) -> None:
        self.worlds: dict[str, tuple[str, ...]] = {}

    def __call__(self, *worlds: str) -> Callable[[Mistake], Mistake]:
        def collect(mistake: Mistake) -> Mistake:
            self[mistake.__name__] = contextmanager(mistake)
            self.worlds[mistake.__name__] = worlds or tuple(PLAIN)
            return mistake

        return collect


mutant = MUTANTS = Mutants()


@contextmanager
def replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


@mutant()
def send_before_commit() -> Iterator[None]:
    original = Host.carry_out

    def carry_out(self: Host, effects: Iterable[Effect]) -> None:
        original(self, sorted(effects, key=lambda effect: not isinstance(effect, Send)))

    with replaced(Host, "carry_out", carry_out):
        yield


@mutant()
def acknowledge_on_receipt() -> Iterator[None]:
    original = Inbound.accept

    def accept(self: Inbound, first: int, records: list[bytes]) -> tuple[int, list[bytes]]:
        result = original(self, first, records)
        self.committed = self.received
        return result

    with replaced(Inbound, "accept", accept):
        yield


@mutant()
def no_deduplication() -> Iterator[None]:
    original = Inbound.accept

    def accept(self: Inbound, first: int, records: list[bytes]) -> tuple[int, list[bytes]]:
        if first + len(records) - 1 <= self.received:
            return self.received - len(records) + 1, records
        return original(self, first, records)

    with replaced(Inbound, "accept", accept):
        yield


@mutant()
def no_resend() -> Iterator[None]:
    with (
        replaced(Outbound, "rewind", lambda self, position: None),
        replaced(Outbound, "overdue_frame", lambda self, now: None),
    ):
        yield


@mutant()
def gap_accepted() -> Iterator[None]:
    original = Inbound.accept

    def accept(self: Inbound, first: int, records: list[bytes]) -> tuple[int, list[bytes]]:
        if first > self.received + 1:
            self.received = first - 1
        return original(self, first, records)

    with replaced(Inbound, "accept", accept):
        yield


@mutant()
def outbox_trimmed_on_send() -> Iterator[None]:
    original = Outbound.frame

    def frame(self: Outbound, now: float) -> tuple[int, list[bytes]] | None:
        result = original(self, now)
        if result is not None:
            self.acknowledge(self.sent, now)
        return result

    with replaced(Outbound, "frame", frame):
        yield


@mutant()
def no_fence() -> Iterator[None]:
    """Messages of an older incarnation are looked at like any other."""
    original = Engine.receive

    def receive(self: Engine, message: wire.Data, now: float) -> list[Effect]:
        link = self._links[message.sender]
        if message.incarnation < link.incarnation:
            message = message._replace(incarnation=link.incarnation, session=link.session)
        return original(self, message, now)

    with replaced(Engine, "receive", receive):
        yield


@mutant()
def dead_gateway_forgotten() -> Iterator[None]:
    """A gateway's lower incarnation starts a session of its own instead of being dropped."""
    original = Link.hear_of

    def hear_of(self: Link, session: int) -> bool:
        if session < self.session:
            self.session = session - 1
        return original(self, session)

    def receive(self: Engine, message: wire.Data, now: float) -> list[Effect]:
        link = self._links[message.sender]
        if message.incarnation < link.incarnation:
            link.incarnation = message.incarnation
        return receive_original(self, message, now)

    receive_original = Engine.receive
    with replaced(Link, "hear_of", hear_of), replaced(Engine, "receive", receive):
        yield


@mutant(POWER)
def no_sync() -> Iterator[None]:
    def sync(self: SimLog) -> None:
        self._log._unsynced = False

    with replaced(SimLog, "sync", sync):
        yield


@mutant(POWER)
def recovery_without_rewrite() -> Iterator[None]:
    """What recovery read is trusted to be on disk."""

    def rewrite(self: SimLog, records: list[tuple[int, bytes]]) -> None:
        log = self._log
        log._image.made = log._open = True
        log._recovered = None

    with replaced(SimLog, "rewrite", rewrite):
        yield


@mutant()
def commit_without_outputs() -> Iterator[None]:
    """State and position are durable, what was to be sent is not."""
    original = Engine._seal

    def seal(self: Engine) -> Append:
        append = original(self)
        commit = wire.unpack(append.payload)
        commit[5] = []
        return Append(append.number, wire.pack(commit))

    with replaced(Engine, "_seal", seal):
        yield


@mutant()
def undo_forgotten() -> Iterator[None]:
    from mini_flink.state.overlay import Overlay

    with replaced(Overlay, "undo", lambda self: None):
        yield


@mutant()
def counting_instead_of_shares() -> Iterator[None]:
    """+1 for each output and −1 for each record done, each told by the worker that sees it."""

    def finish(self: Engine, record: wire.Record) -> None:
        parts = len(self.outputs.emitted) + len(self.outputs.replied)
        header = record[4:9]
        for output in self.outputs.emitted:
            self._send_record(wire.Record(*output, *header, 1, 0))
        for reply in self.outputs.replied:
            self._answer(record, (wire.REPLY, record.request, 1, 0, *reply))
        if parts != 1:
            self._give_back(record._replace(share=1 - parts))

    def start(self: Outstanding) -> None:
        self._amount = 1
        self._level = 0

    def fail(self: Engine, record: wire.Record, error: Exception, now_ms: int) -> None:
        fail_original(self, record._replace(share=1), error, now_ms)  # type: ignore[arg-type]

    fail_original = Engine._fail
    with (
        replaced(Engine, "_finish", finish),
        replaced(Engine, "_fail", fail),
        replaced(Outstanding, "__init__", start),
        replaced(PendingMap, "__len__", lambda self: 0),
    ):
        yield


@mutant()
def a_retried_letter_stays() -> Iterator[None]:
    original = Engine.settle_letters

    def settle(self: Engine, letters: Mapping[bytes, wire.Record | None], now: float) -> list[Effect]:
        kept = {place: self.overlay.get(place) for place, record in letters.items() if record is not None}
        effects = original(self, letters, now)
        for place, letter in kept.items():
            self.overlay.put_entry(layout.DEAD_LETTER, place, letter or b"")
        return effects

    with replaced(Engine, "settle_letters", settle):
        yield


@mutant()
def a_retry_in_two_commits() -> Iterator[None]:
    original = Engine.settle_letters

    def settle(self: Engine, letters: Mapping[bytes, wire.Record | None], now: float) -> list[Effect]:
        removed = original(self, dict.fromkeys(letters), now)
        for record in letters.values():
            if record is not None:
                self._send_record(record)
        return [*removed, self._seal(), *removed[1:]]

    with replaced(Engine, "settle_letters", settle):
        yield

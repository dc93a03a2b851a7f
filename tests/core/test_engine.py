"""The worker's machine by itself: fences, roots, and what a clean end needs."""

from __future__ import annotations

from typing import Any

import pytest

from mini_flink import wire
from mini_flink.core.base import Burial, Identity, Limits, source_code
from mini_flink.core.effects import Append, Flush, Send
from mini_flink.core.engine import Engine
from mini_flink.core.shares import WHOLE
from mini_flink.errors import RecordError
from mini_flink.records import Origin
from mini_flink.state.memory import MemoryDisk, MemoryTable


class Page:
    """Keeps what is shown before each record."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int, int, int]] = []

    def begin(self, source: int, session: int, number: int, operator: int) -> None:
        self.shown.append((source, session, number, operator))

    def idle(self) -> None:
        """Nothing is done."""


class Undertaker:
    """Buries without a word."""

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> Burial:
        return Burial(f"e{record.request}", "operator", b"letter")


class Forward:
    """Stage 1 sends each record on to stage 2 in the same worker; stage 2 replies."""

    def __init__(self, engine: Engine, stage: int) -> None:
        self._engine = engine
        self._stage = stage

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        if self._stage == 1:
            self._engine.outputs.emit(2, 0, None, value)
        else:
            self._engine.outputs.reply(3, 200, [], None, value)


class Shuffle:
    """Sends each record on to the next worker, which replies."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        self._engine.outputs.emit(2, 1, None, value)


def make(**options: Any) -> tuple[Engine, Page]:
    page = Page()
    limits = Limits(batch_records=options.pop("batch_records", 100))
    engine = Engine(
        Identity("w0", 4, 1, "here"),
        options.pop("workers", ["w0"]),
        ["g0"],
        MemoryTable(MemoryDisk()),
        limits=limits,
        progress=page,
        undertaker=Undertaker(),
        clock=lambda: 0.0,
        **options,
    )
    engine.tasks = {1: Forward(engine, 1), 2: Forward(engine, 2)}
    engine.recover(0, [])
    engine.meet("g0", 7, "there")
    return engine, page


def message(*requests: int, **changes: Any) -> wire.Data:
    records = [wire.pack((1, 0, None, b"v", 0, 7, number, 1 << 50, 0, WHOLE, 0)) for number in requests]
    return wire.Data(wire.DATA, 1, "g0", 7, 0, 7, requests[0], records, 0, 0, "")._replace(**changes)


def test_a_message_of_another_generation_or_incarnation_is_not_looked_at() -> None:
    engine, _ = make()
    for changes in ({"generation": 2}, {"generation": 0}, {"incarnation": 6}, {"sender": "w5"}):
        engine.receive(message(1, **changes), 0.0)
    assert not engine.has_work
    assert engine.counters.fenced == 4


def test_what_a_batch_sends_itself_is_known_by_the_input_it_comes_from() -> None:
    engine, page = make()
    engine.receive(message(1, 2), 0.0)
    engine.step(0.0, 0)
    gateway = source_code("g0")
    assert page.shown == [(gateway, 7, 1, 1), (gateway, 7, 1, 2), (gateway, 7, 2, 1), (gateway, 7, 2, 2)]


def test_what_was_committed_as_its_own_outbox_is_known_by_its_own_number() -> None:
    engine, page = make(batch_records=1)
    engine.receive(message(1), 0.0)
    engine.step(0.0, 0)
    engine.step(0.0, 0)
    assert page.shown[1] == (source_code("w0"), 0, 1, 2)


def test_a_poisonous_record_fails_with_all_that_comes_of_it() -> None:
    engine, _ = make(poison=(source_code("g0"), 7, 2))
    engine.receive(message(1, 2, 3), 0.0)
    messages = [wire.decode(effect.message) for effect in engine.step(0.0, 0) if isinstance(effect, Send)]
    frames = [message.records for message in messages if isinstance(message, wire.Data)]
    answers = [wire.unpack(record) for records in frames for record in records]
    assert sorted((answer[1], answer[0]) for answer in answers) == [
        (1, wire.REPLY),
        (2, wire.FAILURE),
        (3, wire.REPLY),
    ]


def test_sources_have_codes_of_their_own() -> None:
    names = [f"{kind}{number}" for kind in "wgc" for number in (0, 1, 127)] + ["c65535"]
    codes = [source_code(name) for name in names]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


def test_it_is_clean_only_when_the_table_has_everything() -> None:
    engine, _ = make()
    engine.receive(message(1), 0.0)
    effects = engine.step(0.0, 0)
    assert isinstance(effects[0], Append)
    assert not engine.clean
    assert isinstance(engine.freeze(), Flush)
    with pytest.raises(RuntimeError, match="still being flushed"):
        engine.freeze()
    assert not engine.clean
    engine.flushed()
    assert engine.clean
    engine.receive(message(2, position=1), 0.0)  # an acknowledgement alone is news to the table too
    assert not engine.clean


def test_what_nobody_will_acknowledge_keeps_it_from_nothing_once_that_is_said() -> None:
    engine, _ = make()
    engine.receive(message(1), 0.0)
    engine.step(0.0, 0)
    assert not engine.drained
    engine.forget_gateways_but(["g0"])
    assert not engine.drained
    engine.forget_gateways_but([])
    assert engine.drained


@pytest.mark.parametrize("logged", [False, True])
def test_a_dead_letter_and_the_retry_of_its_record_are_one_commit(logged: bool) -> None:
    engine, _ = make(poison=(source_code("g0"), 7, 1))
    engine.receive(message(1), 0.0)
    log = [each for each in engine.step(0.0, 0) if isinstance(each, Append)]
    ((place, _),) = engine.dead_letters()
    record = wire.Record(1, 0, None, b"v", *wire.NO_ORIGIN, 0, 0)
    retried = engine.settle_letters({place: record}, 0.0)
    log += [each for each in retried if isinstance(each, Append) and logged]
    after, page = make()
    after.recover(0, [(append.number, append.payload) for append in log])
    assert len(after.dead_letters()) == (0 if logged else 1)
    after.step(1.0, 0)
    stages = [stage for *_, stage in page.shown]
    assert stages == ([1, 2] if logged else [])


def test_it_is_at_rest_when_nothing_waits_and_all_that_went_out_is_committed() -> None:
    engine, _ = make(workers=["w0", "w1"])
    engine.tasks = {1: Shuffle(engine)}
    engine.meet("w1", 3, "elsewhere")
    assert engine.at_rest
    engine.receive(message(1), 0.0)
    assert not engine.at_rest, "it has to be run"
    engine.step(0.0, 0)
    assert not engine.has_work
    assert not engine.at_rest, "the next worker may not have it"
    heard = message(1)._replace(sender="w1", incarnation=3, session=0, first=1, records=[], position=1)
    engine.receive(heard._replace(epoch=5), 0.0)
    assert not engine.at_rest, "what a message of the next epoch says counts when this one has ended"
    engine.step(0.0, 0)
    assert engine.at_rest


def test_a_source_without_requests_is_at_rest_when_it_has_been_read() -> None:
    engine, _ = make()
    engine.tasks = {1: Forward(engine, 1), 2: Forward(engine, 2)}
    engine.add_feed("c1", 2, iter([b"v"]))
    assert not engine.at_rest
    engine.step(0.0, 0)
    engine.step(0.0, 0)
    assert engine.at_rest

"""What a re-shard does with everything that is not state, what it refuses, and what a worker makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from mini_flink import keys, wire
from mini_flink.core.base import Burial, Identity, Limits
from mini_flink.core.effects import Send
from mini_flink.core.engine import Engine
from mini_flink.core.reshard import Reshard, TargetState, build
from mini_flink.errors import CorruptionError, FolderError, RecordError
from mini_flink.plan import Plan
from mini_flink.records import Origin
from mini_flink.state import layout
from mini_flink.state.memory import MemoryDisk, MemoryTable
from tests.reshard.job import (
    KEYED,
    Entry,
    OldJob,
    Waiting,
    numbered,
    owner,
    plan,
    table_of,
    uids,
    usual_indexes,
    usual_states,
)

OLD = numbered()
NEW = numbered(first=21)
COUNT = len(uids())


def old_job(workers: int = 2, **parallelisms: int) -> OldJob:
    return OldJob(plan(workers, OLD, parallelisms), OLD, [usual_indexes()] * workers)


def reshard(old: OldJob, new: Plan, **options: Any) -> Reshard:
    given = {"operators": new.numbers, "states": usual_states(new), "old_operators": OLD, **options}
    return Reshard(old.sources(), new, **given)


def letter(stage: int, key: bytes | None, subtask: int = 1) -> bytes:
    packed: bytes = wire.pack(
        {"format": 1, "operator": "one", "stage": stage, "subtask": subtask, "key": key, "value": b"v"}
    )
    return packed


def letters(old: OldJob, new: Plan) -> list[tuple[int, bytes, dict[str, Any]]]:
    return [(worker, key, wire.unpack(value)) for worker, key, value in reshard(old, new).state(0)]


def test_runs_of_all_workers_come_by_ascending_key() -> None:
    old, new = old_job(3), plan(2, NEW)
    old.hold(
        Entry(uid, name, keys.encode_key(key), b"", b"v")
        for uid, name in usual_indexes()
        for key in range(40)
    )
    old.tables[1][b"De1"] = letter(OLD["one"], keys.encode_key("k"))
    found = [key for run in reshard(old, new).all_runs() for key, _ in run.items]
    assert len(found) == 6 * 40 + 1
    assert found == sorted(found)


# --- dead letters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", range(10))
def test_a_dead_letter_goes_to_the_owner_of_its_key(key: int) -> None:
    old, new = old_job(), plan(3, NEW, {"one": 5})
    encoded = keys.encode_key(key)
    old.tables[0][b"De1"] = letter(OLD["one"], encoded)
    subtask = keys.subtask_of_group(keys.key_group(encoded, 8), 8, 5)
    [(worker, place, moved)] = letters(old, new)
    assert (worker, place) == (owner(new, "one", encoded), b"De1")
    assert moved == {**wire.unpack(letter(NEW["one"], encoded)), "subtask": subtask}


@pytest.mark.parametrize(("subtask", "then"), [(5, 2), (-1, -1)])
def test_a_dead_letter_without_a_key_goes_to_the_first_worker(subtask: int, then: int) -> None:
    old = old_job()
    old.tables[0][b"De1"] = letter(OLD["spread"], None, subtask)
    [(worker, _, moved)] = letters(old, plan(3, NEW))
    assert (worker, moved["stage"], moved["subtask"]) == (0, NEW["spread"], then)


@pytest.mark.parametrize(("stage", "then"), [(OLD["answer"], NEW["answer"]), (99, 0)])
def test_a_dead_letter_of_no_stage_is_kept_and_its_number_is_nobody_elses(stage: int, then: int) -> None:
    old = old_job()
    old.tables[0][b"De1"] = letter(stage, keys.encode_key("k"))
    [(worker, _, moved)] = letters(old, plan(3, NEW))
    assert (worker, moved["stage"], moved["operator"]) == (0, then, "one")


def test_the_tail_brings_new_dead_letters_and_removes_those_that_are_gone_everywhere() -> None:
    old, new = old_job(), plan(3, NEW)
    key = keys.encode_key("k")
    old.tables[0][b"De1"] = letter(OLD["one"], key)
    tail = list(reshard(old, new).tail(0, [b"De1", b"De2", layout.CHANNELS, b"Ow1/0:12345678"]))
    [(worker, place, value), *removed] = tail
    assert (worker, place) == (owner(new, "one", key), b"De1")
    assert wire.unpack(value or b"")["stage"] == NEW["one"]
    assert removed == [(0, b"De2", None), (1, b"De2", None), (2, b"De2", None)]


# --- collections --------------------------------------------------------------------------------------------


def test_a_collection_goes_on_where_it_was() -> None:
    old, new = old_job(), plan(2, NEW)
    number, then = OLD["numbers"], NEW["numbers"]
    old.tables[0][layout.CHANNELS] = wire.pack([["w0", 0, 0, 0, 1], [f"c{number}", 0, 2, 0, 1]])
    old.tables[0][layout.collection_key(number)] = b"elements"
    first, second = map(dict, reshard(old, new).closing())
    assert wire.unpack(first[layout.CHANNELS]) == [["w0", 0, 0, 0, 1], [f"c{then}", 0, 2, 0, 1]]
    assert wire.unpack(second[layout.CHANNELS]) == [["w1", 0, 0, 0, 1]]
    assert first[layout.collection_key(then)] == b"elements"
    assert not any(key.startswith(layout.COLLECTION) for key in second)


def test_a_collection_that_is_new_begins_at_its_first_element() -> None:
    known = {uid: number for uid, number in OLD.items() if uid != "numbers"}
    [items] = reshard(old_job(1), plan(1, NEW), old_operators=known).closing()
    assert wire.unpack(dict(items)[layout.CHANNELS]) == [["w0", 0, 0, 0, 1]]


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_state_that_nothing_is_said_of_is_refused_by_name() -> None:
    new = plan(2, NEW)
    states = {name: target for name, target in usual_states(new).items() if name != ("two", "seen")}
    with pytest.raises(FolderError, match="state 'seen' of operator 'two'"):
        reshard(old_job(), new, states=states)


def test_two_states_in_one_place_are_a_mistake_of_the_caller() -> None:
    new = plan(2, NEW)
    states = {
        **usual_states(new),
        ("two", "seen"): TargetState("one", "total", "value", "", NEW["one"], 0, 2),
    }
    with pytest.raises(ValueError, match="two states"):
        reshard(old_job(), new, states=states)


def test_state_that_its_registry_does_not_know_is_damage() -> None:
    old = old_job()
    old.tables[1][layout.state_prefix(4, OLD["one"], 9) + b"\x01"] = b"v"
    with pytest.raises(CorruptionError, match="worker 1 holds state number 9 of operator 'one'"):
        list(reshard(old, plan(2, NEW)).state(1))


def test_a_changed_key_of_which_nothing_is_written_yet_is_left_out_of_the_tail() -> None:
    old, new = old_job(), plan(3, NEW)
    key = layout.state_prefix(0, OLD["one"], 200) + keys.encode_key("k")
    assert list(reshard(old, new).tail(0, [key])) == []


def test_a_key_group_beyond_those_of_the_job_is_refused() -> None:
    old = old_job()
    old.tables[1][layout.state_prefix(8, OLD["one"], 0) + b"\x01"] = b"v"
    with pytest.raises(FolderError, match="key group 8, and the job has 8"):
        list(reshard(old, plan(2, NEW)).state(1))


def without(*gone: str) -> dict[str, int]:
    """The operators of the folder that the new job's plan does not know by these names any more."""
    return {uid: number for uid, number in NEW.items() if uid not in gone}


@pytest.mark.parametrize(
    ("waiting", "parallelisms", "expected"),
    [
        ([Waiting(0, "spread", None, 1, taken=True)], {"spread": 1}, False),
        ([Waiting(0, "spread", None, 1)], {}, False),
        ([Waiting(0, "spread", None, 1)], {"spread": 1}, True),
        ([Waiting(0, "one", keys.encode_key(key), 0) for key in range(20)], {}, False),
        ([Waiting(0, "one", keys.encode_key(key), 0) for key in range(20)], {"one": 1}, True),
    ],
)
def test_whether_records_under_way_would_be_looked_for_elsewhere(
    waiting: list[Waiting], parallelisms: dict[str, int], expected: bool
) -> None:
    old = old_job(2, spread=2)
    old.send(waiting)
    assert reshard(old, plan(2, OLD, {"spread": 2, **parallelisms})).reroutes() == expected


def test_records_for_operators_that_are_gone_are_refused_by_name_or_dropped_on_request() -> None:
    old, new = old_job(), plan(3, NEW)
    key = keys.encode_key("k")
    old.send([Waiting(0, "one", key, 0), Waiting(1, "two", key, 0), Waiting(1, "one", key, 0)])
    resharding = reshard(old, new, operators=without("one"))
    assert resharding.undeliverable() == {"one": 2}
    with pytest.raises(FolderError, match="'one', where no stage"):
        resharding.closing()
    tables = reshard(old, new, operators=without("one"), drop_undeliverable=True).closing()
    kept = [value for items in tables for key, value in items if key.startswith(layout.OUTBOX)]
    assert [wire.decode_record(value).stage for value in kept] == [NEW["two"]]


@pytest.mark.parametrize(
    ("sender", "receiver", "kept"),
    [
        ([4, 9], 3, range(5, 9)),  # acknowledged is what was never committed
        ([4, 9], 9, range(5, 9)),  # received is what was never sent
        ([4, 9], 4, [5, 7, 8]),
        ([4, 9], 4, [6, 7, 8]),
        ([4, 9], 4, range(5, 8)),
    ],
)
def test_a_hole_between_two_workers_is_found(sender: list[int], receiver: int, kept: Any) -> None:
    old = old_job()
    record = wire.pack((OLD["one"], 1, None, b"v", *wire.NO_ORIGIN, 0, 0))
    old.tables[0][layout.CHANNELS] = wire.pack([["w1", 0, 0, *sender]])
    old.tables[1][layout.CHANNELS] = wire.pack([["w0", 0, receiver, 0, 1]])
    for number in kept:
        old.tables[0][layout.outbox_key(b"w1/0", number)] = record
    with pytest.raises(CorruptionError, match="worker 0 has sent and what worker 1 has received"):
        reshard(old, plan(2, NEW)).closing()


# --- what a worker makes of it ------------------------------------------------------------------------------


class Page:
    """Nobody watches."""

    def begin(self, source: int, session: int, number: int, operator: int) -> None:
        """Nothing."""

    def idle(self) -> None:
        """Nothing."""


class Undertaker:
    """Nobody dies."""

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> Burial:
        raise error


class Run:
    """A stage that keeps what it is given, in order."""

    def __init__(self, seen: list[tuple[int, int, bytes | None, bytes]], stage: int) -> None:
        self._seen = seen
        self._stage = stage

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        self._seen.append((self._stage, subtask, key, value))


def worker(
    new: Plan, index: int, disk: MemoryDisk, seen: list[tuple[int, int, bytes | None, bytes]]
) -> Engine:
    engine = Engine(
        Identity(f"w{index}", 1, 2, "here"),
        [f"w{each}" for each in range(new.workers)],
        ["g0"],
        MemoryTable(disk),
        limits=Limits(batch_records=3),
        progress=Page(),
        undertaker=Undertaker(),
        clock=lambda: 0.0,
    )
    engine.tasks = {stage: Run(seen, stage) for stage in new.stages}
    return engine


def test_a_new_worker_runs_its_backlog_first_in_order_and_once() -> None:
    old, new = old_job(3, one=4), plan(2, NEW, {"one": 3, "spread": 5})
    encoded = [keys.encode_key(number) for number in range(12)]
    records = [Waiting(place % 3, KEYED[place % 2], key, 0) for place, key in enumerate(encoded * 3)]
    old.send([*records, *(Waiting(place % 3, "spread", None, place) for place in range(9))])
    disks = [MemoryDisk() for _ in range(2)]
    build(reshard(old, new), [MemoryTable(disk) for disk in disks])
    for index, disk in enumerate(disks):
        outbox = [wire.decode_record(value) for _, value in MemoryTable(disk).scan(layout.OUTBOX)]
        assert outbox
        seen: list[tuple[int, int, bytes | None, bytes]] = []
        engine = worker(new, index, disk, seen)
        engine.recover(0, [])
        engine.check_deliverable(new.stages, {})
        engine.meet("g0", 1, "there")
        stage = NEW["spread"]
        request = wire.pack((stage, index, None, b"request", 0, 1, 1, 1 << 50, 0, 0, 0))
        engine.receive(wire.Data(wire.DATA, 2, "g0", 1, 0, 1, 1, [request], 0, 0, ""), 0.0)
        engine.step(0.0, 0)
        engine.step(0.0, 0)
        engine = crashed(engine, new, index, disk, seen)
        while engine.has_work:
            assert not [effect for effect in engine.step(0.0, 0) if isinstance(effect, Send)]
        assert seen == [(each.stage, each.subtask, each.key, each.value) for each in outbox]


def crashed(
    engine: Engine, new: Plan, index: int, disk: MemoryDisk, seen: list[tuple[int, int, bytes | None, bytes]]
) -> Engine:
    """The worker dies when its table has two batches; what it was sent and had not run comes again later."""
    flush = engine.freeze()
    MemoryTable(disk).write(flush.items.items(), flush.number)
    again = worker(new, index, disk, seen)
    again.recover(flush.number, [])
    return again


def test_state_and_backlog_of_a_key_meet_at_one_worker() -> None:
    old, new = old_job(4), plan(3, NEW, {"one": 7})
    encoded = [keys.encode_key(number) for number in range(50)]
    old.hold(Entry("one", "total", key, b"", b"v") for key in encoded)
    old.send(Waiting(0, "one", key, 0) for key in encoded)
    tables = [table_of({}) for _ in range(3)]
    build(reshard(old, new), tables)
    for table in tables:
        waiting = {wire.decode_record(value).key for _, value in table.scan(layout.OUTBOX)}
        assert {key[layout.STATE_PREFIX_BYTES :] for key, _ in table.scan(layout.STATE)} == waiting

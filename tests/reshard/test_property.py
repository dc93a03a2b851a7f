"""Any state on any workers, re-sharded onto any others: compared with a plain model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_flink import keys, wire
from mini_flink.core.reshard import Reshard, TargetState, build
from mini_flink.plan import Plan
from mini_flink.state import layout
from mini_flink.state.layout import Stored
from mini_flink.state.memory import MemoryDisk, MemoryTable
from tests.reshard.job import (
    KEYED,
    STAGES,
    STATES,
    Entry,
    OldJob,
    Waiting,
    numbered,
    owner,
    parallelism,
    plan,
    state_map,
    uids,
)

encoded_keys = st.one_of(
    st.integers(-3, 300), st.text(max_size=3), st.tuples(st.integers(0, 3), st.text(max_size=2)),
    st.integers(0, 3).map(lambda number: "long" * 140 + str(number)),
).map(keys.encode_key)  # fmt: skip
workers = st.integers(1, 4)
parallelisms = st.dictionaries(st.sampled_from(STAGES), st.integers(1, 8))
orders = st.permutations(range(len(uids())))
names_of_states = [(uid, name) for uid, names in STATES.items() for name in names]
entries = st.builds(
    lambda state, key, entry, value: Entry(*state, key, entry, value),
    st.sampled_from(names_of_states),
    encoded_keys,
    st.one_of(st.just(b""), encoded_keys),
    st.binary(max_size=5),
)


@st.composite
def index_maps(draw: st.DrawFn) -> Mapping[tuple[str, str], int]:
    """Each operator's states under indexes in an order of their own, which may leave gaps."""
    numbers = {uid: draw(st.permutations(range(len(names) + 1))) for uid, names in STATES.items()}
    return {
        (uid, name): numbers[uid][place] for uid, names in STATES.items() for place, name in enumerate(names)
    }


@st.composite
def old_jobs(draw: st.DrawFn) -> OldJob:
    number = draw(workers)
    numbers = numbered(draw(orders), first=3)
    one = plan(number, numbers, draw(parallelisms))
    return OldJob(one, numbers, [draw(index_maps()) for _ in range(number)])


@st.composite
def new_plans(draw: st.DrawFn) -> Plan:
    return plan(draw(workers), numbered(draw(orders), first=draw(st.integers(1, 5))), draw(parallelisms))


def shout(value: bytes) -> bytes:
    return b"!" + value


@st.composite
def mappings(draw: st.DrawFn, new: Plan) -> dict[tuple[str, str], TargetState | None]:
    """Some states are dropped, some are migrated."""
    states = state_map(new, draw(index_maps()))
    for name, target in states.items():
        fate = draw(st.sampled_from(["keep", "keep", "migrate", "drop"]))
        if target is not None and fate == "migrate":
            states[name] = replace(target, migrate=shout)
        elif fate == "drop":
            states[name] = None
    return states


def expected_state(
    held: Sequence[Entry], new: Plan, states: Mapping[tuple[str, str], TargetState | None]
) -> list[dict[bytes, bytes]]:
    tables: list[dict[bytes, bytes]] = [{} for _ in range(new.workers)]
    for entry in held:
        target = states[entry.uid, entry.name]
        if target is not None:
            value = entry.value if target.migrate is None else target.migrate(entry.value)
            key = entry.lies_at(new.numbers[entry.uid], target.index)
            tables[owner(new, entry.uid, entry.key)][key] = value
    return tables


def unique(held: Sequence[Entry]) -> list[Entry]:
    """The last value of each key."""
    return list({(entry.uid, entry.name, entry.key, entry.entry): entry for entry in held}.values())


def make(old: OldJob, new: Plan, states: Mapping[Any, Any]) -> Reshard:
    return Reshard(old.sources(), new, operators=new.numbers, states=states, old_operators=old.numbers)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), old_jobs(), new_plans(), st.lists(entries, max_size=40))
def test_every_value_is_once_where_its_key_belongs(
    data: st.DataObject, old: OldJob, new: Plan, held: list[Entry]
) -> None:
    held = unique(held)
    old.hold(held)
    states = data.draw(mappings(new))
    reshard = make(old, new, states)
    found: list[dict[bytes, bytes]] = [{} for _ in range(new.workers)]
    for index in range(old.plan.workers):
        groups = []
        for worker, key, value in reshard.state(index):
            assert key not in found[worker]
            found[worker][key] = value
            groups.append(key[:3])
        assert groups == sorted(groups)
    assert found == expected_state(held, new, states)


@settings(max_examples=100, deadline=None)
@given(st.data(), old_jobs(), new_plans(), st.lists(entries, max_size=20), st.lists(entries, max_size=20))
def test_the_tail_of_all_keys_is_the_state_and_of_gone_ones_none(
    data: st.DataObject, old: OldJob, new: Plan, held: list[Entry], gone: list[Entry]
) -> None:
    old.hold(held)
    states = data.draw(mappings(new))
    before = [dict(table) for table in old.tables]
    old.hold(gone)
    changed = [list(table) for table in old.tables]
    for table, kept in zip(old.tables, before, strict=True):
        for key in list(table):
            if key not in kept:
                del table[key]
            else:
                table[key] = kept[key]
    reshard = make(old, new, states)
    for index in range(old.plan.workers):
        tail = list(reshard.tail(index, changed[index]))
        assert {item for item in tail if item[2] is not None} == set(reshard.state(index))
        absent = {
            (entry.uid, entry.name, entry.key, entry.entry)
            for entry in gone
            if owner(old.plan, entry.uid, entry.key) == index and states[entry.uid, entry.name] is not None
        } - {(entry.uid, entry.name, entry.key, entry.entry) for entry in held}
        places = set()
        for uid, name, key, entry in absent:
            target = states[uid, name]
            assert target is not None
            place = Entry(uid, name, key, entry, b"").lies_at(target.operator, target.index)
            places.add((owner(new, uid, key), place, None))
        assert {item for item in tail if item[2] is None} == places


waiting = st.builds(
    lambda sender, keyed, uid, key, subtask: Waiting(
        sender % 4, uid if keyed else "spread", key if keyed else None, subtask
    ),
    st.integers(0, 3), st.booleans(), st.sampled_from(KEYED), encoded_keys, st.integers(0, 7),
)  # fmt: skip


def in_worker_range(old: OldJob, records: list[Waiting], taken: int) -> list[Waiting]:
    """The first ``taken`` of all are with their receivers already."""
    return [
        replace(record, sender=record.sender % old.plan.workers, taken=number < taken)
        for number, record in enumerate(records)
    ]


def check_backlog(old: OldJob, new: Plan, tables: Sequence[list[tuple[bytes, bytes]]]) -> None:
    placed: dict[bytes, tuple[int, int]] = {}
    for worker, items in enumerate(tables):
        table = dict(items)
        assert len(table) == len(items)
        outbox = sorted(key for key in table if key.startswith(layout.OUTBOX))
        assert outbox == [layout.outbox_key(f"w{worker}/0".encode(), n) for n in range(1, len(outbox) + 1)]
        home = next(link for link in wire.unpack(table[layout.CHANNELS]) if link[0] == f"w{worker}")
        assert home == [f"w{worker}", 0, 0, 0, len(outbox) + 1]
        for number, key in enumerate(outbox):
            record = wire.decode_record(table[key])
            assert record.value not in placed
            placed[record.value] = (worker, number)
            check_route(old, new, worker, record)
    assert placed.keys() == {value for sent in old.sent.values() for value, _ in sent}
    for sent in old.sent.values():
        for worker in range(new.workers):
            order = [placed[value][1] for value, _ in sent if placed[value][0] == worker]
            assert order == sorted(order)


def check_route(old: OldJob, new: Plan, worker: int, record: wire.Record) -> None:
    sent = {value: record for channel in old.sent.values() for value, record in channel}[record.value]
    uid = next(uid for uid, number in old.numbers.items() if number == sent.stage)
    assert record.stage == new.numbers[uid]
    if record.key is None:
        assert record.subtask == sent.subtask % parallelism(new, uid)
        assert worker == record.subtask % new.workers
    else:
        assert worker == owner(new, uid, record.key) == record.subtask % new.workers
    assert record[2:] == sent[2:]


@settings(max_examples=300, deadline=None)
@given(old_jobs(), new_plans(), st.lists(waiting, max_size=40), st.integers(0, 40), st.integers(0, 5))
def test_the_backlog_is_what_was_undelivered_in_the_order_of_its_channels(
    old: OldJob, new: Plan, records: list[Waiting], taken: int, acked: int
) -> None:
    old.send(in_worker_range(old, records, taken), acked)
    reshard = make(old, new, state_map(new, old.indexes[0]))
    check_backlog(old, new, reshard.closing())
    assert reshard.undeliverable() == {}


@settings(max_examples=100, deadline=None)
@given(st.data(), old_jobs(), new_plans(), st.lists(entries, max_size=30), st.lists(waiting, max_size=20))
def test_the_new_tables_hold_this_and_the_registry_and_nothing_else(
    data: st.DataObject, old: OldJob, new: Plan, held: list[Entry], records: list[Waiting]
) -> None:
    held = unique(held)
    old.hold(held)
    old.send(in_worker_range(old, records, 0))
    states = data.draw(mappings(new))
    tables = [MemoryTable(MemoryDisk()) for _ in range(new.workers)]
    build(make(old, new, states), tables)
    registry = {
        layout.registry_key(target.operator, name): Stored(
            target.operator, name, target.index, "value", "", parallelism(new, uid)
        )
        for (uid, name), target in states.items()
        if target is not None
    }
    kinds = Counter[bytes]()
    for table, state in zip(tables, expected_state(held, new, states), strict=True):
        assert table.commit_number == 0
        assert dict(table.scan(layout.STATE)) == state
        assert {key: Stored(*wire.unpack(value)) for key, value in table.scan(layout.REGISTRY)} == registry
        meta = {key for key, _ in table.scan(layout.META)}
        assert meta - registry.keys() == {layout.CHANNELS}
        kinds.update(key[:1] for key, _ in table.range(b"", None))
    assert kinds.keys() <= {layout.STATE, layout.OUTBOX, layout.META}
    assert kinds[layout.OUTBOX] == len(records)

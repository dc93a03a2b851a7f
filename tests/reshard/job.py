"""A job to re-shard, what its workers hold in a plain model, and their tables made of that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mini_flink import keys, wire
from mini_flink import plan as plans
from mini_flink.core.reshard import StateMap, TargetState
from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph
from mini_flink.plan import Plan
from mini_flink.state import layout
from mini_flink.state.layout import Stored
from mini_flink.state.memory import MemoryDisk, MemoryTable

GROUPS = 8
KEYED = ("one", "two", "three")
STAGES = ("spread", *KEYED)
STATES = {"one": ("total", "last"), "two": ("seen",), "three": ("items", "names", "sum")}


def same(value: Any) -> Any:
    return value


@cache
def graph() -> JobGraph:
    """Requests go through ``spread`` to ``one`` and ``two``, the collection ``numbers`` to ``three``."""
    graphs: list[JobGraph] = []
    with executing_with(graphs.append):
        env = StreamExecutionEnvironment.get_execution_environment()
        env.set_max_parallelism(GROUPS)
        stream = env.from_requests("/").uid("source").map(same).uid("spread")
        stream.key_by(same).map(same).uid("one").key_by(same).map(same).uid("two").reply().uid("answer")
        env.from_collection([1, 2, 3]).uid("numbers").key_by(same).map(same).uid("three")
        env.execute("re-sharded")
    return graphs[0]


def uids() -> list[str]:
    return [node.uid for node in graph().nodes]


def numbered(order: Sequence[int] = (), first: int = 1) -> dict[str, int]:
    """Operator numbers, in another order if one is given."""
    names = uids()
    return {names[place]: first + number for number, place in enumerate(order or range(len(names)))}


def plan(workers: int, numbers: Mapping[str, int], parallelisms: Mapping[str, int] | None = None) -> Plan:
    return plans.build(graph(), workers, numbers, parallelisms or {})


def parallelism(plan: Plan, uid: str) -> int:
    return plan.stages[plan.numbers[uid]].parallelism


def owner(plan: Plan, uid: str, key: bytes) -> int:
    """The worker that has a key, said once more without what is tested."""
    group = keys.key_group(key, GROUPS)
    return keys.subtask_of_group(group, GROUPS, parallelism(plan, uid)) % plan.workers


@dataclass(frozen=True)
class Entry:
    """One value of keyed state; ``entry`` is the encoded map key, if it is in a map state."""

    uid: str
    name: str
    key: bytes
    entry: bytes
    value: bytes

    def lies_at(self, operator: int, index: int) -> bytes:
        group = keys.key_group(self.key, GROUPS)
        return layout.state_prefix(group, operator, index) + self.key + self.entry


@dataclass(frozen=True)
class Waiting:
    """A record of ``sender`` for a stage; ``taken``: its receiver has it already."""

    sender: int
    uid: str
    key: bytes | None
    subtask: int
    taken: bool = False


@dataclass
class OldJob:
    """The workers of an old generation."""

    plan: Plan
    numbers: Mapping[str, int]
    indexes: Sequence[Mapping[tuple[str, str], int]]
    """Per worker the index of each state, by uid and name."""
    tables: list[dict[bytes, bytes]] = field(init=False)
    sent: dict[tuple[int, int], list[tuple[bytes, wire.Record]]] = field(init=False)
    """By sender and receiver what is undelivered, in order; the values name the records."""

    def __post_init__(self) -> None:
        self.tables = [{} for _ in range(self.plan.workers)]
        self.sent = defaultdict(list)
        for table, indexes in zip(self.tables, self.indexes, strict=True):
            for (uid, name), index in indexes.items():
                number = self.numbers[uid]
                stored = Stored(number, name, index, "value", "", parallelism(self.plan, uid))
                table[layout.registry_key(number, name)] = wire.pack(stored)
            table[layout.META + b"epoch"] = (7).to_bytes(8, "big")
            table[layout.outbox_key(b"g0/5", 1)] = wire.pack((wire.COMPLETION, []))

    def hold(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            worker = owner(self.plan, entry.uid, entry.key)
            index = self.indexes[worker][entry.uid, entry.name]
            self.tables[worker][entry.lies_at(self.numbers[entry.uid], index)] = entry.value

    def send(self, waiting: Iterable[Waiting], acked: int = 0) -> None:
        """Fill the outboxes; every channel has delivered ``acked`` records before."""
        channels = defaultdict[tuple[int, int], list[tuple[Waiting, bytes]]](list)
        for number, each in enumerate(waiting):
            record = self._record(each, b"record %d" % number)
            receiver = record.subtask % self.plan.workers
            channels[each.sender, receiver].append((each, wire.pack(record)))
        links: list[list[list[Any]]] = [[["g0", 5, 17, 0, 2]] for _ in self.tables]
        for (sender, receiver), records in sorted(channels.items()):
            taken = sum(1 for each, _ in records if each.taken)
            home_or_zero = taken if sender == receiver else 0
            next = acked + len(records) + 1
            for number, (_, packed) in enumerate(records, acked + 1):
                if number > acked + home_or_zero:
                    self.tables[sender][layout.outbox_key(f"w{receiver}/0".encode(), number)] = packed
            position = acked + taken
            self._say(links, sender, receiver, acked=acked + home_or_zero, next=next)
            self._say(links, receiver, sender, position=position)
            self.sent[sender, receiver] = [
                (record.value, record) for record in (wire.decode_record(data) for _, data in records[taken:])
            ]
        for table, said in zip(self.tables, links, strict=True):
            table[layout.CHANNELS] = wire.pack(said)

    def _record(self, each: Waiting, value: bytes) -> wire.Record:
        subtask = each.subtask % parallelism(self.plan, each.uid)
        if each.key is not None:
            group = keys.key_group(each.key, GROUPS)
            subtask = keys.subtask_of_group(group, GROUPS, parallelism(self.plan, each.uid))
        return wire.Record(
            self.numbers[each.uid], subtask, each.key, value, 0, 5, 12, 1 << 50, 1234, 1 << 40, 2
        )

    @staticmethod
    def _say(links: list[list[list[Any]]], worker: int, peer: int, **values: int) -> None:
        name = f"w{peer}"
        entry = next((entry for entry in links[worker] if entry[0] == name), None)
        if entry is None:
            entry = [name, 0, 0, 0, 1]
            links[worker].append(entry)
        for place, field_name in enumerate(("position", "acked", "next"), 2):
            if field_name in values:
                entry[place] = values[field_name]

    def sources(self) -> list[MemoryTable]:
        return [table_of(items) for items in self.tables]


def table_of(items: Mapping[bytes, bytes]) -> MemoryTable:
    disk = MemoryDisk()
    table = MemoryTable(disk)
    table.write(items.items(), 3)
    table.renew()
    return table


def state_map(
    plan: Plan, indexes: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], TargetState | None]:
    """Every state goes to the operator of its uid, at the index given."""
    return {
        (uid, name): TargetState(uid, name, "value", "", plan.numbers[uid], index, parallelism(plan, uid))
        for (uid, name), index in indexes.items()
    }


def usual_indexes() -> dict[tuple[str, str], int]:
    return {(uid, name): index for uid, names in STATES.items() for index, name in enumerate(names)}


def usual_states(plan: Plan) -> StateMap:
    return state_map(plan, usual_indexes())

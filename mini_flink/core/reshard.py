"""Re-sharding: the tables of one generation's workers become the tables of the next one's.

The one way in which a restore, a rescale and an upgrade take state along, also onto the same workers. State
goes to the owner of its key group, dead letters to the owner of their key, undelivered records become the
input backlog of theirs. Pure: it reads sources and says what belongs in which new table; who fills these
gives them their epoch and generation. ``max_parallelism`` is the same on both sides.

Everything streams. ``runs`` (or ``state``) is the bulk and may be read from a frozen view while the old
workers go on; then ``tail`` and ``closing`` of another ``Reshard`` on their final tables bring the rest.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from mini_flink import wire
from mini_flink.core.backlog import Backlog, Channel, Source, value_of
from mini_flink.core.routes import Routes
from mini_flink.errors import CorruptionError, FolderError
from mini_flink.ids import worker_name
from mini_flink.plan import Plan
from mini_flink.state import layout
from mini_flink.state.base import Table
from mini_flink.state.layout import STATE_PREFIX_BYTES, Stored

Item = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class TargetState:
    """Where a stored state goes in the new job, and what its registry says of it.

    ``parallelism`` is that of its stage now. ``migrate`` rewrites stored values.
    """

    uid: str
    name: str
    kind: str
    type_text: str
    operator: int
    index: int
    parallelism: int
    migrate: Callable[[bytes], bytes] | None = None


StateMap = Mapping[tuple[str, str], TargetState | None]
"""By uid and state name in the old job; None for a state that is dropped on purpose."""


class Run(NamedTuple):
    """Items for one new worker, by ascending key, all of which begin with ``prefix``."""

    prefix: bytes
    worker: int
    items: Iterable[Item]


class Reshard:
    """From ``sources``, the old workers in order, to the workers of ``plan``.

    ``old_operators`` and ``operators`` map uids to numbers, then and now. FolderError if a state is stored
    that ``states`` does not mention.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        plan: Plan,
        *,
        operators: Mapping[str, int],
        states: StateMap,
        old_operators: Mapping[str, int],
        drop_undeliverable: bool = False,
    ) -> None:
        self._sources = sources
        self._plan = plan
        self._old_operators = old_operators
        self._routes = Routes(plan, old_operators, operators)
        self._targets = [target for target in states.values() if target is not None]
        self._drop_undeliverable = drop_undeliverable
        self._check_targets()
        self._states = [self._states_of(source, states) for source in sources]

    def _check_targets(self) -> None:
        places = Counter((target.operator, target.index) for target in self._targets)
        if any(count > 1 for count in places.values()):
            raise ValueError(f"two states go to one place: {self._targets}")

    def _states_of(self, source: Source, states: StateMap) -> dict[tuple[int, int], TargetState | None]:
        """What becomes of each state, by the numbers that this source has given it."""
        found: dict[tuple[int, int], TargetState | None] = {}
        for _, packed in source.scan(layout.REGISTRY):
            stored = Stored(*wire.unpack(packed))
            uid = self._routes.uid(stored.operator)
            if (uid, stored.name) not in states:
                raise FolderError(
                    f"state {stored.name!r} of operator {uid!r} is stored, and nothing says where it goes",
                    help="keep the operator's uid and the state's name, or drop the state on purpose",
                )
            found[stored.operator, stored.number] = states[uid, stored.name]
        return found

    # --- the bulk ---------------------------------------------------------------------------------------

    def state(self, index: int) -> Iterator[tuple[int, bytes, bytes]]:
        """New worker, key and value of every state and dead letter of source ``index``.

        By ascending key, except that a group whose operators or states have changed their order keeps the
        old one within.
        """
        for run in self.runs(index):
            for key, value in run.items:
                yield run.worker, key, value

    def runs(self, index: int) -> Iterator[Run]:
        """The same, as runs; each is to be read before the next is asked for."""
        source = self._sources[index]
        for key, letter in source.scan(layout.DEAD_LETTER):
            worker, moved = self._letter(letter)
            yield Run(key, worker, [(key, moved)])
        for prefix, items in groupby(source.scan(layout.STATE), _state_prefix):
            place = self._place(index, prefix)
            if place is not None:
                yield _moved(prefix, *place, items)

    def all_runs(self) -> Iterator[Run]:
        """The runs of all sources, by ascending key as far as ``state`` has them so."""
        sources = [self.runs(index) for index in range(len(self._sources))]
        return heapq.merge(*sources, key=attrgetter("prefix"))

    def _place(self, index: int, prefix: bytes) -> tuple[bytes, int, TargetState] | None:
        """The new prefix and worker of a run, and the state it is of; None if that is dropped."""
        group, operator, number = layout.split_state_prefix(prefix)
        try:
            target = self._states[index][operator, number]
        except KeyError:
            raise CorruptionError(
                f"worker {index} holds state number {number} of operator {self._routes.uid(operator)!r}, "
                "which its registry does not know"
            ) from None
        if target is None:
            return None
        if group >= self._plan.max_parallelism:
            raise FolderError(
                f"worker {index} holds key group {group}, and the job has {self._plan.max_parallelism}",
                help="max_parallelism cannot be changed: it decides where each key's state is kept",
            )
        worker = self._routes.workers(target.parallelism)[group]
        return layout.state_prefix(group, target.operator, target.index), worker, target

    def _knows(self, index: int, prefix: bytes) -> bool:
        _, operator, number = layout.split_state_prefix(prefix)
        return (operator, number) in self._states[index]

    def _letter(self, packed: bytes) -> tuple[int, bytes]:
        """The new worker of a dead letter, and the letter with its new numbers."""
        letter = wire.unpack(packed)
        routes, key = self._routes, letter["key"]
        stage = routes.stage(letter["stage"])
        letter["stage"] = routes.operator(letter["stage"])
        if stage is not None:
            letter["subtask"] = routes.subtask(stage, letter["subtask"], key)
        keyed = stage is not None and key is not None
        worker = self._plan.worker_of(letter["stage"], letter["subtask"]) if keyed else 0
        packed = wire.pack(letter)
        return worker, packed

    # --- what has changed since -------------------------------------------------------------------------

    def tail(self, index: int, keys: Iterable[bytes]) -> Iterator[tuple[int, bytes, bytes | None]]:
        """New worker, key and value, None where it is gone, of those of ``keys`` that ``state`` would give.

        Nobody knows any more whose a removed dead letter was: it is removed everywhere.
        """
        source = self._sources[index]
        for key in keys:
            if key.startswith(layout.STATE):
                prefix, value = key[:STATE_PREFIX_BYTES], value_of(source, key)
                if value is None and not self._knows(index, prefix):
                    continue  # its first value is still to be written, and the registry with it
                place = self._place(index, prefix)
                if place is not None:
                    yield _changed(place, key, value)
            elif key.startswith(layout.DEAD_LETTER):
                letter = value_of(source, key)
                if letter is None:
                    yield from ((worker, key, None) for worker in range(self._plan.workers))
                else:
                    worker, moved = self._letter(letter)
                    yield worker, key, moved

    # --- the end ----------------------------------------------------------------------------------------

    def undeliverable(self) -> Mapping[str, int]:
        """How many records wait for operators, by uid, where no stage of the new plan begins."""
        return Backlog(self._sources, self._routes).undeliverable()

    def reroutes(self) -> bool:
        """Whether a record that is under way would be looked for elsewhere."""
        return Backlog(self._sources, self._routes).reroutes()

    def closing(self) -> list[list[Item]]:
        """What each new worker's table needs beside its state: backlog, channels, registry, collections.

        All in memory; ``closing_items`` streams it.
        """
        tables: list[list[Item]] = [[] for _ in range(self._plan.workers)]
        for worker, key, value in self.closing_items():
            tables[worker].append((key, value))
        return tables

    def closing_items(self) -> Iterator[tuple[int, bytes, bytes]]:
        """New worker, key and value; FolderError if records would be lost and nobody has said they may."""
        counts = [0] * self._plan.workers
        lost: Counter[str] = Counter()
        backlog = Backlog(self._sources, self._routes)
        yield from backlog.outboxes(counts, lost)
        if lost and not self._drop_undeliverable:
            raise FolderError(
                f"records are still to be delivered to {', '.join(map(repr, sorted(lost)))}, where no stage "
                "of the job begins any more",
                help="let the job as it was finish its work, then change it",
            )
        yield from self._registry()
        links = [[[worker_name(worker), 0, 0, 0, count + 1]] for worker, count in enumerate(counts)]
        for worker, number, position, elements in self._collections(backlog.channels):
            links[worker].append([f"c{number}", 0, position, 0, 1])
            if elements is not None:
                yield worker, layout.collection_key(number), elements
        yield from ((worker, layout.CHANNELS, wire.pack(each)) for worker, each in enumerate(links))

    def _registry(self) -> Iterator[tuple[int, bytes, bytes]]:
        for target in self._targets:
            entry = Stored(
                target.operator, target.name, target.index, target.kind, target.type_text, target.parallelism
            )
            key, packed = layout.registry_key(target.operator, target.name), wire.pack(entry)
            yield from ((worker, key, packed) for worker in range(self._plan.workers))

    def _collections(
        self, channels: Sequence[Mapping[str, Channel]]
    ) -> Iterator[tuple[int, int, int, bytes | None]]:
        """Of each collection that was there before: new worker and number, elements done, what it held."""
        for feed in self._plan.collection_sources:
            old_number = self._old_operators.get(feed.node.uid)
            if old_number is not None:
                known = [each[f"c{old_number}"].position for each in channels if f"c{old_number}" in each]
                held = (value_of(source, layout.collection_key(old_number)) for source in self._sources)
                elements = next((value for value in held if value is not None), None)
                yield self._plan.worker_of(feed.stage, 0), feed.number, max(known, default=0), elements


def _state_prefix(item: Item) -> bytes:
    return item[0][:STATE_PREFIX_BYTES]


def _moved(prefix: bytes, moved: bytes, worker: int, target: TargetState, items: Iterable[Item]) -> Run:
    """The run with its new prefix and its values migrated; where neither changes the items as they are."""
    migrate = target.migrate
    if migrate is not None:
        items = ((moved + key[STATE_PREFIX_BYTES:], migrate(value)) for key, value in items)
    elif moved != prefix:
        items = ((moved + key[STATE_PREFIX_BYTES:], value) for key, value in items)
    return Run(moved, worker, items)


def _changed(
    place: tuple[bytes, int, TargetState], key: bytes, value: bytes | None
) -> tuple[int, bytes, bytes | None]:
    moved, worker, target = place
    if value is not None and target.migrate is not None:
        value = target.migrate(value)
    return worker, moved + key[STATE_PREFIX_BYTES:], value


def load(reshard: Reshard, put: Callable[[int, Iterable[Item]], None]) -> None:
    """Put everything into new tables; ``put`` takes a worker and items for it."""
    for _, worker, items in reshard.all_runs():
        put(worker, items)
    for worker, key, value in reshard.closing_items():
        put(worker, [(key, value)])


def build(reshard: Reshard, tables: Sequence[Table]) -> None:
    """Fill the new workers' tables, which are empty and small: each run is a transaction."""
    load(reshard, lambda worker, items: tables[worker].write(items, 0))
    for table in tables:
        table.renew()

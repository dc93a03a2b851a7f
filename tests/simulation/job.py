"""The job of the simulated worlds: count tokens per key, fan out over a second key, join by token, reply.

Beside the requests it reads a collection. A job has a version: the next one gives its operators and states
other numbers, and stores values in another form, so that whoever moves state has something to translate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from mini_flink import plan as plans
from mini_flink import wire
from mini_flink.core.backlog import Source
from mini_flink.core.engine import Engine
from mini_flink.core.reshard import Reshard, StateMap, TargetState
from mini_flink.errors import Location, RecordError
from mini_flink.graph import (
    COLLECTION,
    REQUESTS,
    CollectionOptions,
    Edge,
    JobGraph,
    Node,
    RequestOptions,
)
from mini_flink.keys import key_group, subtask_of_group
from mini_flink.records import Origin
from mini_flink.state import layout

if TYPE_CHECKING:
    from tests.simulation.world import World

ASK, FEED, TOTAL, PART, JOIN = "ask", "feed", "total", "part", "join"
SEEN, ODD = "seen", "odd"
MAX_PARALLELISM = 16
KEYS = 6
PART_KEYS = 5
FED = 1_000_000_000
"""Tokens of the collection's elements begin here."""
FED_PARTS = (2, 1, 3, 1, 2, 3, 1, 2)
"""How many parts each element of the collection has."""

_HERE = Location(__file__, 1)


def _value(token: int, kind: str, parts: int, index: int) -> bytes:
    return wire.pack([token, kind, parts, index])


def _key(value: object) -> object:
    return value


def _node(
    place: int, uid: str, *inputs: int, options: RequestOptions | CollectionOptions | None = None
) -> Node:
    kind = {ASK: REQUESTS, FEED: COLLECTION}.get(uid, "process")
    edges = tuple(Edge(source, _key, _HERE) for source in inputs)
    return Node(place, kind, uid, uid, True, 1 if uid == FEED else None, None, edges, _HERE, options)


_ELEMENTS = tuple(_value(FED + index, "fan", parts, 0) for index, parts in enumerate(FED_PARTS))
_GRAPH = JobGraph(
    "simulation",
    (
        _node(0, ASK, options=RequestOptions("/", ("POST",), "dict")),
        _node(1, FEED, options=CollectionOptions(_ELEMENTS)),
        _node(2, TOTAL, 0),
        _node(3, PART, 1, 2),
        _node(4, JOIN, 3),
    ),
    MAX_PARALLELISM,
    _HERE,
)


@cache
def _group(key: bytes) -> int:
    return key_group(key, MAX_PARALLELISM)


class Home(NamedTuple):
    """Where a key of a stage lives."""

    subtask: int
    worker: int
    seen: bytes
    odd: bytes


class Job:
    """A version of the job on a number of workers; the same object for the same facts."""

    def __init__(self, version: int, workers: int, parallelisms: tuple[int, int, int]) -> None:
        self.version = version
        self.workers = workers
        self.form = version % 2
        swap = self.form
        self.numbers = {
            uid: 1 + (index + version) % 7 for index, uid in enumerate((ASK, FEED, TOTAL, PART, JOIN))
        }
        self.parallelisms = dict(zip((TOTAL, PART, JOIN), parallelisms, strict=True))
        self.plan = plans.build(_GRAPH, workers, self.numbers, self.parallelisms)
        self.uids = {number: uid for uid, number in self.numbers.items()}
        self.indexes = {SEEN: swap, ODD: 1 - swap}
        self._homes: dict[tuple[str, bytes], Home] = {}

    def __repr__(self) -> str:
        return f"Job({self.version}, {self.workers}, {self.parallelisms})"

    def home(self, uid: str, key: bytes) -> Home:
        """Where ``key`` of stage ``uid`` lives in this job."""
        home = self._homes.get((uid, key))
        if home is None:
            group = _group(key)
            subtask = subtask_of_group(group, MAX_PARALLELISM, self.parallelisms[uid])
            seen, odd = (
                layout.state_prefix(group, self.numbers[uid], self.indexes[name]) + key
                for name in (SEEN, ODD)
            )
            home = self._homes[uid, key] = Home(subtask, subtask % self.workers, seen, odd)
        return home

    def reshard(self, sources: Sequence[Source], old: Job) -> Reshard:
        """The machine that moves what workers of ``old`` have left in ``sources``."""
        return Reshard(
            sources,
            self.plan,
            operators=self.numbers,
            states=self._states_after(old),
            old_operators=old.numbers,
        )

    def _states_after(self, old: Job) -> StateMap:

        def migrate(value: bytes) -> bytes:
            return wire.pack([self.form, wire.unpack(value)[1]])

        return {
            (uid, name): TargetState(
                uid,
                name,
                "list",
                str(self.form),
                self.numbers[uid],
                self.indexes[name],
                self.parallelisms[uid],
                migrate if self.form != old.form else None,
            )
            for uid in (TOTAL, PART, JOIN)
            for name in sorted(self.indexes, key=self.indexes.__getitem__)
        }

    def register(self, register: Callable[[int, str, str, str, int], int]) -> Mapping[tuple[str, str], int]:
        """Declare the states of all stages; the index that each got."""
        return {
            (uid, name): register(self.numbers[uid], name, "list", str(self.form), self.parallelisms[uid])
            for uid in (TOTAL, PART, JOIN)
            for name in sorted(self.indexes, key=self.indexes.__getitem__)
        }

    def next(self, rng: Random, workers: int, *, upgrade: bool) -> Job:
        """The job after a changeover."""
        return make_job(self.version + upgrade, workers, random_parallelisms(rng, workers))


make_job = cache(Job)


def random_parallelisms(rng: Random, workers: int) -> tuple[int, int, int]:
    """Parallelisms of the three keyed stages: some that use all workers, some that do not."""
    total, part, join = (rng.choice((1, 2, workers, workers, 4, 5)) for _ in range(3))
    return total, part, join


class Tasks:
    """One stage in one worker."""

    def __init__(self, engine: Engine, job: Job, uid: str, world: World, worker: int) -> None:
        self._engine = engine
        self._job = job
        self._uid = uid
        self._world = world
        self._worker = worker

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        token, kind, parts, index = wire.unpack(value)
        if self._uid == FEED:
            self._fan_out(token, kind, parts)
            return
        home = self._job.home(self._uid, key or b"")
        if (home.subtask, home.worker) != (subtask, self._worker):
            self._world.problems.append(f"{key!r} of {self._uid} has come to subtask {subtask}")
        seen = self._remember(home, token, index)
        getattr(self, f"_{kind}")(token, parts, index, seen)

    def _remember(self, home: Home, token: int, index: int) -> list[list[int]]:
        """All that has come for the key, and a second state that is there after every other record."""
        overlay, form = self._engine.overlay, self._job.form
        packed = overlay.get(home.seen)
        stored, seen = wire.unpack(packed) if packed else (form, [])
        if stored != form:
            self._world.problems.append(f"a value of form {stored} was not migrated to {form}")
        seen.append([token, index])
        overlay.put(home.seen, wire.pack([form, seen]))
        if not self._world.changes:
            return seen
        if len(seen) % 2:
            overlay.put(home.odd, wire.pack([form, len(seen)]))
        else:
            overlay.delete(home.odd)
        return seen

    def _plain(self, token: int, parts: int, index: int, seen: list[list[int]]) -> None:
        self._engine.outputs.reply(0, 200, [], None, wire.pack([token, len(seen) - 1]))

    def _silent(self, token: int, parts: int, index: int, seen: list[list[int]]) -> None:
        """No output: 204."""

    def _fail(self, token: int, parts: int, index: int, seen: list[list[int]]) -> None:
        """Until somebody has seen to it."""
        if token not in self._world.mended:
            raise RecordError("as planned")

    def _fan(self, token: int, parts: int, index: int, seen: list[list[int]]) -> None:
        if self._uid == TOTAL:
            self._fan_out(token, "fan", parts)
        elif self._uid == PART:
            self._emit(JOIN, token, token, "fan", parts, index)
        elif len(seen) == parts:
            self._engine.outputs.reply(0, 200, [], None, wire.pack([token, parts]))

    def _fan_out(self, token: int, kind: str, parts: int) -> None:
        for part in range(parts):
            self._emit(PART, (token + part) % PART_KEYS, token, kind, parts, part)

    def _emit(self, uid: str, key: int, token: int, kind: str, parts: int, index: int) -> None:
        job, packed_key = self._job, b"k%d" % key
        subtask = job.home(uid, packed_key).subtask
        self._engine.outputs.emit(job.numbers[uid], subtask, packed_key, _value(token, kind, parts, index))

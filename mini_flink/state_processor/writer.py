"""Writes savepoints: of keys and values that a program has, alone or beside what an existing one holds.

What is taken over from an existing savepoint stays as its workers left it, a part per worker, so that their
undelivered records, dead letters and positions go along. What is added goes into the first part: a restore
gives each key to its owner anyway. Called by programs of users.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Self, TypeVar, overload

from mini_flink import __version__, wire
from mini_flink.datastream.builder import checked_max_parallelism
from mini_flink.datastream.location import user_location
from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.errors import SnapshotError, StorageError
from mini_flink.graph import DEFAULT_MAX_PARALLELISM
from mini_flink.ids import worker_name
from mini_flink.keys import decode_key
from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.chain import PartReader
from mini_flink.snapshots.item_file import write_items
from mini_flink.snapshots.location import is_url, open_store
from mini_flink.snapshots.manifest import Manifest, Part, manifest_path, snapshot_id
from mini_flink.state import layout
from mini_flink.state.layout import MAX_STATES, STATE_PREFIX_BYTES, Stored
from mini_flink.state_processor.encoding import StateEncoder
from mini_flink.state_processor.existing import ExistingSavepoint, place_of, registry, there_is, title_of
from mini_flink.state_processor.sorting import DuplicateKeyError, Item, Sorter

MAX_OPERATOR_NUMBER = 0xFFFF
"""Two bytes of a stored key."""
EPOCH = 1
"""A savepoint that is written is the first and only one of a data folder that never was."""

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Acc = TypeVar("Acc")
Items = Iterable[tuple[Any, V]] | Mapping[Any, V]

_Item = tuple[bytes, bytes]
_key_of = itemgetter(0)


@dataclass(frozen=True, slots=True)
class WrittenSavepoint:
    """What was written; ``path`` is the folder or URL by which it is read or restored.

    ``keys`` are those of all states that were added.
    """

    id: str
    path: str
    job: str
    keys: int
    total_bytes: int
    duration_ms: int


class _Addition(NamedTuple):
    """A state that is to be written, and its keys and values."""

    kind: str
    type_text: str
    items: Items[Any]


class SavepointWriter:
    """A savepoint to be: say what is in it, then ``write`` it, once.

    >>> import tempfile
    >>> from mini_flink.datastream.state import ListStateDescriptor, ValueStateDescriptor
    >>> rows = [["a", "3"], ["b", "4"]]  # of a csv.reader, say
    >>> first = (
    ...     SavepointWriter.new_savepoint("running-total")
    ...     .with_operator("total", ValueStateDescriptor("total", int), ((key, int(n)) for key, n in rows))
    ...     .write(tempfile.mkdtemp())
    ... )
    >>> first.keys
    2
    >>> second = (
    ...     SavepointWriter.from_existing_savepoint(first.path)
    ...     .with_operator("total", ListStateDescriptor("seen", int), {"a": [1, 2], "b": [4]})
    ...     .write(tempfile.mkdtemp())
    ... )
    >>> from mini_flink.state_processor import SavepointReader
    >>> with SavepointReader.read(second.path) as savepoint:
    ...     [state.name for state in savepoint.operators["total"]]
    ['seen', 'total']
    """

    def __init__(self, job: str, max_parallelism: int, existing: ExistingSavepoint | None) -> None:
        self._job = job
        self._max_parallelism = max_parallelism
        self._existing = existing
        self._added: dict[tuple[str, str], _Addition] = {}
        self._removed: set[str] = set()
        self._is_written = False

    @classmethod
    def new_savepoint(cls, job: str, max_parallelism: int = DEFAULT_MAX_PARALLELISM) -> Self:
        """An empty one, for the job that says ``env.execute(job)`` and has this ``max_parallelism``."""
        return cls(job, checked_max_parallelism(max_parallelism, user_location()), None)

    @classmethod
    def from_existing_savepoint(cls, place: str | os.PathLike[str]) -> Self:
        """One with all that the savepoint or snapshot at ``place`` has; that one stays as it is.

        ``place`` and errors are as in ``SavepointReader.read``.
        """
        existing = ExistingSavepoint(place)
        return cls(existing.manifest.job, existing.manifest.max_parallelism, existing)

    @overload
    def with_operator(
        self,
        uid: str,
        descriptor: ValueStateDescriptor[T] | ReducingStateDescriptor[T],
        items: Items[T],
    ) -> Self: ...
    @overload
    def with_operator(
        self, uid: str, descriptor: ListStateDescriptor[T], items: Items[Sequence[T]]
    ) -> Self: ...
    @overload
    def with_operator(
        self, uid: str, descriptor: MapStateDescriptor[K, V], items: Items[Mapping[K, V]]
    ) -> Self: ...
    @overload
    def with_operator(
        self, uid: str, descriptor: AggregatingStateDescriptor[Any, Acc, Any], items: Items[Acc]
    ) -> Self: ...
    def with_operator(self, uid: str, descriptor: StateDescriptor[Any], items: Items[Any]) -> Self:
        """Adds a state of the operator with this uid, in place of one of this name; its others stay.

        ``items`` are pairs of key and value, each key once, in any order and of any number; ``write`` goes
        through them. A list state's value is the list or tuple of its elements, a map state's the dict of its
        entries, a reducing state's what its elements combine into, an aggregating state's the accumulator.
        ``None`` for a value, an empty list and an empty dict store nothing. The descriptor is best the job's
        own: name, kind and type are compared with the job's at the restore. Values of classes are kept by the
        class's name and module; those of a job's own file belong to ``__main__``.
        """
        if not isinstance(descriptor, StateDescriptor) or not descriptor.kind:
            raise SnapshotError(
                f"with_operator({uid!r}, …) takes a descriptor of a state, not {type(descriptor).__name__}",
                help='give the one of the job, as in ValueStateDescriptor("total", int)',
            )
        place = (uid, descriptor.name)
        if place in self._added:
            raise SnapshotError(
                f"{title_of(*place)} is added twice", help="join its items: itertools.chain(first, second)"
            )
        self._added[place] = _Addition(descriptor.kind, descriptor.type_text, items)
        return self

    def remove_operator(self, uid: str) -> Self:
        """Leaves out all states of the operator with this uid; SnapshotError if it has none."""
        stored = self._existing.operators if self._existing is not None else {}
        known = [*stored, *(added for added, _ in self._added if added not in stored)]
        if uid not in known:
            raise SnapshotError(
                f"no operator {uid!r} has state that could be left out",
                help=there_is(uid, known, "operators with state"),
            )
        self._removed.add(uid)
        self._added = {place: one for place, one in self._added.items() if place[0] != uid}
        return self

    def write(self, location: str | os.PathLike[str]) -> WrittenSavepoint:
        """Write it into a folder of its own at ``location``, a folder or fsspec URL; it can be done once.

        Items take at most about 100 MB of memory: what is more goes through a temporary file (``TMPDIR`` says
        where). On any error nothing is left at ``location``. EncodeError and KeyTypeError name the key of
        what cannot be stored, SnapshotError a key that comes twice.
        """
        if self._is_written:
            raise SnapshotError(
                "this savepoint was written already",
                help="its items are used up: make another SavepointWriter",
            )
        self._is_written = True
        text = os.fspath(location)
        if self._existing is not None:
            self._existing.check()  # before the items, which may take long, are gone through
        store = open_store(text)
        try:
            with Sorter() as sorter:
                draft = _Draft(self._job, self._max_parallelism, self._existing, self._removed, self._added)
                draft.sort(sorter)
                manifest = draft.write(store, sorter)
            place = text.rstrip("/") if is_url(text) else store.location
        finally:
            store.close()
        return WrittenSavepoint(
            id=manifest.id,
            path=f"{place}/{manifest.id}",
            job=manifest.job,
            keys=draft.keys,
            total_bytes=manifest.total_bytes,
            duration_ms=manifest.duration_ms,
        )


class _Draft:
    """The savepoint while it is written: the numbers of its operators and states, then its files."""

    def __init__(
        self,
        job: str,
        max_parallelism: int,
        existing: ExistingSavepoint | None,
        removed: set[str],
        added: Mapping[tuple[str, str], _Addition],
    ) -> None:
        self.keys = 0
        self._began = time.monotonic()
        self._job = job
        self._max_parallelism = max_parallelism
        self._existing = existing
        self._added = added
        self._operators = dict(existing.manifest.operators) if existing else {}
        self._next_operator = existing.manifest.next_operator if existing else 1
        for uid, _ in added:
            self._number(uid)
        self._dropped = self._places_of(removed, added)
        self._states = dict(self._numbered_states())

    def _number(self, uid: str) -> None:
        if uid not in self._operators:
            if self._next_operator > MAX_OPERATOR_NUMBER:
                raise SnapshotError(f"more than {MAX_OPERATOR_NUMBER} operators have been in this job")
            self._operators[uid] = self._next_operator
            self._next_operator += 1

    def _places_of(self, removed: set[str], added: Iterable[tuple[str, str]]) -> set[tuple[int, str]]:
        """Operator number and name of the stored states that are not taken over."""
        stored = self._existing.manifest.states if self._existing else []
        numbers = {self._operators[uid] for uid in removed if uid in self._operators}
        replaced = {(self._operators[uid], name) for uid, name in added}
        return {(row[0], row[1]) for row in stored if row[0] in numbers or (row[0], row[1]) in replaced}

    def _numbered_states(self) -> Iterator[tuple[tuple[str, str], Stored]]:
        """Each added state with a number that its operator has free in the first part."""
        used: dict[int, set[int]] = {}
        for entry in registry(self._existing.parts[0]) if self._existing else ():
            if (entry.operator, entry.name) not in self._dropped:
                used.setdefault(entry.operator, set()).add(entry.number)
        for (uid, name), addition in self._added.items():
            operator = self._operators[uid]
            taken = used.setdefault(operator, set())
            number = next(number for number in range(MAX_STATES + 1) if number not in taken)
            if number == MAX_STATES:
                raise SnapshotError(f"operator {uid!r} has more than {MAX_STATES} states")
            taken.add(number)
            yield (uid, name), Stored(operator, name, number, addition.kind, addition.type_text, 1)

    # --- what is added ----------------------------------------------------------------------------------

    def sort(self, sorter: Sorter) -> None:
        """Go through all items that are added."""
        with self._naming_duplicates():
            for place, stored in self._states.items():
                items = self._added[place].items
                pairs = items.items() if isinstance(items, Mapping) else items
                title = title_of(*place)
                encoder = StateEncoder(
                    title, stored.kind, stored.operator, stored.number, self._max_parallelism
                )
                sorter.fill(encoder.items(pairs))
                self.keys += encoder.keys

    @contextlib.contextmanager
    def _naming_duplicates(self) -> Iterator[None]:
        try:
            yield
        except DuplicateKeyError as error:
            operator, number = layout.split_state_prefix(error.key[:STATE_PREFIX_BYTES])[1:]
            place = next(
                place
                for place, stored in self._states.items()
                if (stored.operator, stored.number) == (operator, number)
            )
            key = decode_key(error.key[STATE_PREFIX_BYTES:])
            raise SnapshotError(
                f"{title_of(*place)}: the key {key!r:.100} comes twice",
                help="give each key once, with all that is to be kept for it",
            ) from error

    # --- the files --------------------------------------------------------------------------------------

    def write(self, store: SnapshotStore, sorter: Sorter) -> Manifest:
        """All files, the manifest last; on an error none."""
        id = snapshot_id(int.from_bytes(os.urandom(4), "big"), EPOCH)
        try:
            with self._naming_duplicates():
                parts = tuple(self._parts(store, id, sorter))
            manifest = self._manifest(id, parts)
            Catalog(store).write_manifest(manifest)
        except BaseException:
            with contextlib.suppress(StorageError):
                for path in (*store.list(id), manifest_path(id)):  # the last is not there: its folder goes
                    store.remove(path)
            raise
        return manifest

    def _parts(self, store: SnapshotStore, id: str, sorter: Sorter) -> Iterator[Part]:
        registered = sorted(
            (layout.registry_key(stored.operator, stored.name), wire.pack(stored))
            for stored in self._states.values()
        )
        added: Iterable[_Item] = chain(registered, _with_values(sorter.items()))
        if self._existing is None:
            empty = [(layout.CHANNELS, wire.pack([]))]
            yield self._part(store, f"{id}/{worker_name(0)}", 0, 0, added, empty)
            return
        for reader, part in zip(self._existing.parts, self._existing.manifest.parts, strict=True):
            state = heapq.merge(self._kept(reader), added, key=_key_of)
            path = f"{id}/{worker_name(part.worker)}"
            yield self._part(store, path, part.worker, part.commit_number, state, _channels(reader))
            added = ()

    @staticmethod
    def _part(
        store: SnapshotStore,
        path: str,
        worker: int,
        commit_number: int,
        state: Iterable[_Item],
        channels: Iterable[_Item],
    ) -> Part:
        epoch = [(layout.EPOCH, EPOCH.to_bytes(8, "big"))]
        files = (
            write_items(store, f"{path}.state", "base", state),
            write_items(store, f"{path}.channels", "channels", heapq.merge(channels, epoch, key=_key_of)),
        )
        return Part(worker, commit_number, files)

    def _kept(self, part: PartReader) -> Iterator[_Item]:
        """What is taken over of a part: all but its channels and the states that are left out."""
        dropped = [entry for entry in registry(part) if (entry.operator, entry.name) in self._dropped]
        keys = {layout.registry_key(entry.operator, entry.name) for entry in dropped}
        places = {place_of(layout.state_prefix(0, entry.operator, entry.number)) for entry in dropped}
        for key, value in part.range(b"", None):
            if key.startswith(layout.STATE):
                if place_of(key) not in places:
                    yield key, value
            elif key not in keys and not layout.is_of_channels(key):
                yield key, value

    def _manifest(self, id: str, parts: tuple[Part, ...]) -> Manifest:
        before = self._existing.manifest if self._existing else None
        states = [row for row in before.states if (row[0], row[1]) not in self._dropped] if before else []
        states += [[one.operator, one.name, one.kind, one.type_text] for one in self._states.values()]
        total_bytes = sum(file.size_bytes for part in parts for file in part.files)
        return Manifest(
            id=id,
            kind="savepoint",
            job=self._job,
            folder_id=int(id.partition("-")[0], 16),
            epoch=EPOCH,
            generation=1,
            created_ms=time.time_ns() // 1_000_000,
            duration_ms=int((time.monotonic() - self._began) * 1000),
            program_version=__version__,
            workers=before.workers if before else 1,
            max_parallelism=self._max_parallelism,
            operators=self._operators,
            next_operator=self._next_operator,
            parallelisms=before.parallelisms if before else {},
            incarnations=before.incarnations if before else {},
            fingerprint=before.fingerprint if before else [],
            states=sorted(states),
            parts=parts,
            new_bytes=total_bytes,
            total_bytes=total_bytes,
        )


def _with_values(items: Iterable[Item]) -> Iterator[_Item]:
    return ((key, value) for key, value in items if value is not None)


def _channels(part: PartReader) -> Iterator[_Item]:
    """A part's positions and undelivered records, without its epoch."""
    items = part.range(layout.META, layout.STATE)
    return (item for item in items if layout.is_of_channels(item[0]) and item[0] != layout.EPOCH)

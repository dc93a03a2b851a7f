"""A savepoint (or snapshot) that is there: its manifest, its workers' parts, and which states they hold.

Each worker has numbered its states by itself; its registry says how. Only reads. Called by ``reader`` and
``writer``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mini_flink import wire
from mini_flink.errors import SnapshotError
from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.catalog import locate
from mini_flink.snapshots.chain import PartReader
from mini_flink.snapshots.manifest import Manifest
from mini_flink.state import layout
from mini_flink.state.layout import STATE_PREFIX_BYTES, Stored
from mini_flink.suggest import nearest


@dataclass(frozen=True, slots=True)
class StateInfo:
    """A state of an operator, as it was declared: ``kind`` is ``value``, ``list``, ``map``, …"""

    name: str
    kind: str
    type_text: str


class ExistingSavepoint:
    """Opened at ``place``: the folder or URL of a savepoint, or of a folder that holds some (its latest)."""

    def __init__(self, place: str | os.PathLike[str]) -> None:
        here = os.getcwd()
        catalog, id = locate(os.fspath(place), here, here)
        self.store: SnapshotStore = catalog.store
        self.manifest: Manifest = catalog.latest() if id is None else catalog.get(id)
        if id is not None:  # what is in its files is checked as they are read, and by ``check``
            catalog.check_whole(self.manifest, contents=False)
        self.parts = [PartReader(self.store, part) for part in self.manifest.parts]

    @property
    def operators(self) -> Mapping[str, tuple[StateInfo, ...]]:
        """The states of each operator that has some, by the operator's uid."""
        uids = {number: uid for uid, number in self.manifest.operators.items()}
        found: dict[str, dict[str, StateInfo]] = {}
        for operator, name, kind, type_text in self.manifest.states:
            uid = uids.get(operator, f"number {operator}")
            found.setdefault(uid, {})[name] = StateInfo(name, kind, type_text)
        return {uid: tuple(states.values()) for uid, states in found.items()}

    def states_of(self, uid: str) -> tuple[StateInfo, ...]:
        """The states of one operator; SnapshotError that says which there are if it has none."""
        states = self.operators.get(uid)
        if states is None:
            raise SnapshotError(
                f"no operator {uid!r} has state in {self.manifest.kind} {self.manifest.id} of job "
                f"{self.manifest.job!r}",
                help=there_is(uid, self.operators, "operators with state"),
            )
        return states

    def place(self, part: PartReader, uid: str, name: str) -> bytes | None:
        """How one part tells the keys of a state from others, as ``place_of`` a key; None if it has none."""
        operator = self.manifest.operators[uid]
        for entry in registry(part):
            if (entry.operator, entry.name) == (operator, name):
                return place_of(layout.state_prefix(0, operator, entry.number))
        return None

    def check(self) -> None:
        """Reads all files whole; CorruptionError that names the one that is not as it was written."""
        for part in self.parts:
            part.check()

    def close(self) -> None:
        """Lets the store go."""
        self.store.close()


def registry(part: PartReader) -> Iterator[Stored]:
    """The states that a worker has registered."""
    return (Stored(*wire.unpack(packed)) for _, packed in part.scan(layout.REGISTRY))


def place_of(key: bytes) -> bytes:
    """Which operator and state a stored key is of, without its key group."""
    return key[3:STATE_PREFIX_BYTES]


def title_of(uid: str, name: str) -> str:
    """A state as errors name it."""
    return f"state {name!r} of operator {uid!r}"


def there_is(name: str, known: Iterable[str], what: str) -> str:
    """The help line for a name that is not among ``known``, which are ``what``."""
    names = list(known)
    listed = f"{what}: {', '.join(map(repr, names)) or 'none'}"
    match = nearest(name, names)
    return f"did you mean {match!r}? {listed}" if match else listed

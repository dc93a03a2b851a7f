"""The overlay: keyed state that is newer than the table on disk, in memory, in encoded form.

Layers over the table: *batch* (changes of the batch being run, not committed), *active* (committed, in the
log), *frozen* (being written to the table; two of them for a moment, if a snapshot begins meanwhile). Keys
and values are bytes: ``1``, ``True`` and ``1.0`` are not one key, reading gives a fresh value, changing it
without ``update`` changes nothing, and undoing a record is putting back the few bytes it replaced.

Owned by a worker's loop. It never writes anywhere: the engine takes the batch for the log and the frozen
layer for the table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop
from typing import Final, Protocol


class Readable(Protocol):
    """What the overlay needs of the table beneath."""

    def get(self, key: bytes) -> bytes | None: ...
    def scan(self, prefix: bytes) -> Iterable[tuple[bytes, bytes]]: ...
    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]: ...


class _Absent:
    """In an undo list: the batch had no entry for the key."""


_ABSENT: Final = _Absent()
_OVERHEAD_BYTES = 120
"""What a dict entry with two bytes objects costs beside their content."""


class Overlay:
    """Keyed state as operators see it (``KeyedStore``), and its layers as the engine needs them.

    ``get``/``put``/``delete`` for single entries; ``put_entry``/``delete_entry``/``scan`` for entries that
    are found again by their prefix. Between ``mark`` and ``undo`` or the next ``mark`` lie the changes of one
    record.
    """

    def __init__(self, table: Readable) -> None:
        self._table = table
        self._batch: dict[bytes, bytes | None] = {}
        self._active: dict[bytes, bytes | None] = {}
        self._frozen: dict[bytes, bytes | None] = {}
        self._older: list[dict[bytes, bytes | None]] = []
        self._members: dict[bytes, set[bytes]] = {}
        self._frozen_members: list[dict[bytes, set[bytes]]] = []
        self._undo: list[tuple[bytes, bytes | _Absent | None]] = []
        self.record_bytes = 0
        self.active_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, None if it has none."""
        for layer in (self._batch, self._active, self._frozen):
            if key in layer:
                return layer[key]
        for layer in self._older:
            if key in layer:
                return layer[key]
        return self._table.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Give ``key`` a value, within the current record."""
        self._undo.append((key, self._batch.get(key, _ABSENT)))
        self._batch[key] = value
        self.record_bytes += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        """Take the value of ``key`` away, within the current record."""
        self._undo.append((key, self._batch.get(key, _ABSENT)))
        self._batch[key] = None
        self.record_bytes += len(key)

    def put_entry(self, prefix: bytes, key: bytes, value: bytes) -> None:
        """``put`` for a key that ``scan(prefix)`` finds; ``key`` starts with ``prefix``."""
        self._member(prefix, key)
        self.put(key, value)

    def delete_entry(self, prefix: bytes, key: bytes) -> None:
        """``delete`` for a key that was put with ``put_entry``."""
        self._member(prefix, key)
        self.delete(key)

    def _member(self, prefix: bytes, key: bytes) -> None:
        members = self._members.get(prefix)
        if members is None:
            members = self._members[prefix] = set()
        members.add(key)

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All entries below ``prefix``, whole keys, sorted."""
        found = dict(self._table.scan(prefix))
        newer = set(self._members.get(prefix, ()))
        for members in self._frozen_members:
            newer |= members.get(prefix, set())
        for key in newer:
            value = self.get(key)
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        return sorted(found.items())

    def newer(self, start: bytes, stop: bytes) -> Newer:
        """The keys from ``start`` on and before ``stop`` that were changed since the table was written.

        Also those that were deleted. Looks at every changed key; holds until the next change.
        """
        layers = (*self._older, self._frozen, self._active, self._batch)
        return Newer([key for layer in layers for key in layer if start <= key < stop])

    def range(self, start: bytes, stop: bytes, newer: Newer) -> Iterator[tuple[bytes, bytes]]:
        """Entries from ``start`` on and before ``stop``, sorted; ``newer`` as told of a range around it."""
        changed = newer.between(start, stop)
        next_changed = next(changed, None)
        for key, value in self._table.range(start, stop):
            while next_changed is not None and next_changed < key:
                yield from self._entry(next_changed)
                next_changed = next(changed, None)
            if next_changed == key:
                yield from self._entry(key)
                next_changed = next(changed, None)
            else:
                yield key, value
        while next_changed is not None:
            yield from self._entry(next_changed)
            next_changed = next(changed, None)

    def _entry(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self.get(key)
        if value is not None:
            yield key, value

    def mark(self) -> None:
        """A record begins: from here on ``undo`` takes back."""
        self._undo.clear()
        self.record_bytes = 0

    def undo(self) -> None:
        """Take back what was changed since ``mark``."""
        for key, value in reversed(self._undo):
            if isinstance(value, _Absent):
                self._batch.pop(key, None)
            else:
                self._batch[key] = value
        self._undo.clear()
        self.record_bytes = 0

    def take_batch(self) -> dict[bytes, bytes | None]:
        """The changes of the batch, now also in the active layer; the owner logs them at once."""
        batch = self._batch
        self._batch = {}
        self._undo.clear()
        self.apply(batch)
        return batch

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        """Committed changes: of a batch, or redone from the log."""
        self._active.update(changes)
        self.active_bytes += sum(len(k) + (len(v) if v else 0) + _OVERHEAD_BYTES for k, v in changes.items())

    def rebuild_members(self, prefix_of: PrefixOf) -> None:
        """After recovery: find the entries that ``scan`` must know among the redone changes."""
        for key in self._active:
            prefix = prefix_of(key)
            if prefix is not None:
                self._member(prefix, key)

    def holds(self, prefix: bytes) -> bool:
        """Whether a value newer than the table has a key below ``prefix``; looks at every key."""
        layers = (*self._older, self._frozen, self._active, self._batch)
        return any(
            key.startswith(prefix) and value is not None for layer in layers for key, value in layer.items()
        )

    @property
    def dirty(self) -> bool:
        """Whether the active layer holds anything."""
        return bool(self._active)

    @property
    def active_items(self) -> int:
        """How many keys the active layer holds."""
        return len(self._active)

    def freeze(self) -> dict[bytes, bytes | None]:
        """The active layer, which stays readable until ``drop_frozen``; a new one takes its place."""
        if self._frozen_members:
            self._older.insert(0, self._frozen)
        frozen, self._active = self._active, {}
        members, self._members = self._members, {}
        # A batch that has begun is not frozen: its entries must still be found when the frozen ones are gone.
        for prefix, keys in members.items() if self._batch else ():
            for key in keys & self._batch.keys():
                self._member(prefix, key)
        self.active_bytes = 0
        self._frozen = frozen
        self._frozen_members.append(members)
        return frozen

    def drop_frozen(self) -> None:
        """The table has the oldest frozen layer: forget it. The table's view must have been renewed."""
        if self._older:
            self._older.pop()
        else:
            self._frozen = {}
        self._frozen_members.pop(0)


class Newer:
    """Changed keys, sorted as far as somebody has read: many may have changed where few are looked at."""

    def __init__(self, keys: list[bytes]) -> None:
        heapify(keys)
        self._rest = keys
        self._sorted: list[bytes] = []

    def between(self, start: bytes, stop: bytes) -> Iterator[bytes]:
        """Those from ``start`` on and before ``stop``, each once."""
        self._sort_until(start)
        place = bisect_left(self._sorted, start)
        while True:
            if place == len(self._sorted):
                if not self._rest or self._rest[0] >= stop:
                    return
                self._sort_until(self._rest[0] + b"\0")
            if self._sorted[place] >= stop:
                return
            yield self._sorted[place]
            place += 1

    def _sort_until(self, stop: bytes) -> None:
        while self._rest and self._rest[0] < stop:
            key = heappop(self._rest)
            if not self._sorted or self._sorted[-1] != key:  # changed in several layers
                self._sorted.append(key)


class PrefixOf(Protocol):
    """Finds the scan prefix that an entry's key belongs to, None if it is not an entry of that kind."""

    def __call__(self, key: bytes) -> bytes | None: ...

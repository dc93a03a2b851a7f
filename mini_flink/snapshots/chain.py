"""One worker's part of a snapshot as one ordered map: its chain of files laid over each other.

Has the reading methods of ``state.base.Table``. Streams: memory is bounded by a block per file. Each file's
size and checksums are looked at as it is read; ``check`` reads everything and compares the SHA-256, too.
Called by whoever restores a snapshot or looks into one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.item_file import Item, check_file, check_size, name_of, read_items
from mini_flink.snapshots.manifest import FileEntry, Part


class PartReader:
    """The items of ``part``; CorruptionError and SnapshotMissingError, from any method, name the file."""

    def __init__(self, store: SnapshotStore, part: Part) -> None:
        self._store = store
        self._part = part
        for entry in part.files:
            check_size(store, entry)

    @property
    def commit_number(self) -> int:
        """The worker's commit that the part was frozen after."""
        return self._part.commit_number

    @property
    def entries(self) -> int:
        """How many items its files have; what a newer one has again counts once more."""
        return sum(entry.items for entry in self._part.files)

    def get(self, key: bytes) -> bytes | None:
        """The value of one key. Reads the files up to it: not for many keys."""
        return next((value for _, value in self.range(key, key + b"\0")), None)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The items whose key starts with ``prefix``, by ascending key."""
        for item in self.range(prefix, None):
            if not item[0].startswith(prefix):
                return
            yield item

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The items with ``start <= key < stop``, by ascending key; no ``stop`` means to the end."""
        streams = [self._items(entry, start, stop) for entry in self._part.files]
        # From the newest down: the base, which is the largest, goes through one merge only.
        nothing: Iterator[Item] = iter(())
        merged = reduce(lambda newer, older: _laid_over(older, newer), reversed(streams), nothing)
        for key, value in merged:
            if value is not None:
                yield key, value

    def check(self) -> None:
        """Reads every file whole; an error names the one that is not as it was written."""
        for entry in self._part.files:
            check_file(self._store, entry)

    def _items(self, entry: FileEntry, start: bytes, stop: bytes | None) -> Iterator[Item]:
        with self._store.read(entry.path) as file:
            yield from read_items(file, name_of(self._store, entry), start, stop)


def _laid_over(older: Iterator[Item], newer: Iterator[Item]) -> Iterator[Item]:
    """Both in order, the newer one's item where both have the key. Deletions stay, for what is below."""
    ahead = next(newer, None)
    if ahead is not None:
        for item in older:
            while ahead is not None and ahead[0] < item[0]:
                yield ahead
                ahead = next(newer, None)
            if ahead is None:
                yield item
                break
            if ahead[0] != item[0]:
                yield item
    if ahead is not None:
        yield ahead
    yield from newer
    yield from older

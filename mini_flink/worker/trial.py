"""Devices for a worker on trial: it reads the real state, and what it writes stays in its memory.

The new version of a job answers a probe on them; then the process is killed, and the state is as it was.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from operator import itemgetter

from mini_flink.errors import StorageError
from mini_flink.state.base import Table, TableView
from mini_flink.state.memory import MemoryDisk, MemoryLog
from mini_flink.transport.base import Transport
from mini_flink.worker.background import Background
from mini_flink.worker.worker import Devices

_Item = tuple[bytes, bytes | None]


def trial_devices(table: Table, transport: Transport, background: Background) -> Devices:
    """A log in memory, and ``table`` with the changes in memory before it."""
    return Devices(MemoryLog(MemoryDisk(), durable=False), ScratchTable(table), transport, background)


class ScratchTable:
    """A ``Table`` whose writes are remembered, and never reach the one beneath."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._written: dict[bytes, bytes | None] = {}
        self._number = table.commit_number

    @property
    def commit_number(self) -> int:
        return self._number

    @property
    def size_bytes(self) -> int:
        return self._table.size_bytes

    def get(self, key: bytes) -> bytes | None:
        return self._written[key] if key in self._written else self._table.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        written = {key: value for key, value in self._written.copy().items() if key.startswith(prefix)}
        return _laid_over(self._table.scan(prefix), written)

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        written = {
            key: value
            for key, value in self._written.copy().items()
            if key >= start and (stop is None or key < stop)
        }
        return _laid_over(self._table.range(start, stop), written)

    def renew(self) -> None:
        """Nothing is written beneath."""

    def open_view(self) -> TableView:
        raise StorageError("a worker on trial takes no part in snapshots")

    def write(self, items: Iterable[_Item], commit_number: int) -> None:
        self._written.update(items)
        self._number = commit_number

    def sync(self) -> None:
        """Nothing of it is to last."""

    def close(self) -> None:
        self._table.close()


def _laid_over(
    items: Iterator[tuple[bytes, bytes]], written: dict[bytes, bytes | None]
) -> Iterator[tuple[bytes, bytes]]:
    kept = ((key, value) for key, value in items if key not in written)
    newer = sorted((key, value) for key, value in written.items() if value is not None)
    return heapq.merge(kept, newer, key=itemgetter(0))

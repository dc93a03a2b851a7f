"""In-memory twins of the log and the table, for ``python job.py``, the test harness and the simulation.

``MemoryDisk`` is what outlives a process; ``MemoryLog`` and ``MemoryTable`` are what one process has open
on it. The disk tells apart what is written (the page cache: survives ``crash``) and what is synced
(survives ``power_cut``). Faults are data: ``fail_next("append", "full")``. Same contract as the real
devices, in base.py; stricter in that recycled records are gone at once. Runs wherever Python does.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from random import Random
from typing import Literal

from mini_flink.errors import CorruptionError, StorageError, StorageFullError
from mini_flink.state.base import LogStatistics

Operation = Literal["append", "sync", "rewrite", "prepare", "write", "table_sync"]
Fault = Literal["full", "error", "kill"]
_Changes = dict[bytes, bytes | None]


class ProcessKilled(Exception):
    """The fault "kill": the process died inside a call; what that wrote is in the page cache, unsynced."""


class MemoryDisk:
    """What a process leaves behind: a log and a table, each with its unsynced part.

    >>> disk = MemoryDisk()
    >>> log = MemoryLog(disk)
    >>> log.rewrite(log.recover(0))
    >>> log.append(1, b"one")
    >>> disk.power_cut(Random(1))  # not synced: kept or lost, here lost
    >>> list(MemoryLog(disk).recover(0))
    []
    """

    def __init__(self) -> None:
        self.process = 0
        self.log = _LogImage()
        self.table = _TableImage()
        self._faults: dict[Operation, list[Fault]] = {}

    def fail_next(self, operation: Operation, fault: Fault, times: int = 1) -> None:
        """The next ``times`` calls fail: for want of space, for good, or because the process dies."""
        if fault == "full" and operation in ("sync", "table_sync"):
            raise ValueError("a sync that finds no space is an error like any other")
        self._faults.setdefault(operation, []).extend([fault] * times)

    def crash(self) -> None:
        """The process dies: what it has open refuses every call, the page cache stays."""
        self.process += 1
        self._faults.clear()

    def power_cut(self, rng: Random) -> None:
        """The power fails: of what is not synced a part, chosen at random, is there."""
        self.crash()
        self.log.cut(rng)
        self.table.cut(rng)

    def fault(self, operation: Operation) -> bool:
        """Carries out the fault planned for this call; True asks the caller to write, not sync, and be
        killed.
        """
        planned = self._faults.get(operation)
        fault = planned.pop(0) if planned else None
        if fault == "full":
            raise StorageFullError("no space left in memory, as planned")
        if fault == "error":
            self.crash()
            raise StorageError(f"{operation} failed, as planned")
        return fault == "kill"

    def kill(self, operation: Operation) -> None:
        """The end of a call that ``fault`` said is to be killed."""
        self.crash()
        raise ProcessKilled(operation)


class _LogImage:
    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []
        self.begins_after = 0
        self.synced = 0
        self.made = False

    @property
    def last(self) -> int:
        return self.records[-1][0] if self.records else self.begins_after

    def cut(self, rng: Random) -> None:
        """Records are kept up to a random one: a torn record, and all behind it, is as good as none."""
        self.synced = max(self.synced, self.begins_after)
        kept = rng.randint(self.synced, max(self.synced, self.last))
        self.records = [record for record in self.records if record[0] <= kept]
        self.synced = kept


class _TableImage:
    def __init__(self) -> None:
        self.items: dict[bytes, bytes] = {}
        self.number = 0
        self._unsynced: list[tuple[int, _Changes]] = []

    def commit(self, changes: _Changes, number: int) -> None:
        self._unsynced.append((self.number, {key: self.items.get(key) for key in changes}))
        self._apply(changes, number)

    def sync(self) -> None:
        self._unsynced.clear()

    def cut(self, rng: Random) -> None:
        """Transactions are there or not, each as a whole, and none without those before it."""
        for _ in range(rng.randint(0, len(self._unsynced))):
            number, before = self._unsynced.pop()
            self._apply(before, number)
        self._unsynced.clear()

    def _apply(self, changes: _Changes, number: int) -> None:
        for key, value in changes.items():
            if value is None:
                self.items.pop(key, None)
            else:
                self.items[key] = value
        self.number = number


class _Device:
    """What a process has open: refuses every call once that process is dead."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self._process = disk.process

    def _begin(self, operation: Operation | None = None) -> bool:
        if self._process != self._disk.process:
            raise StorageError("the process that opened this is dead")
        return operation is not None and self._disk.fault(operation)


class MemoryLog(_Device):
    """The ``CommitLog`` of ``disk`` as the process sees it that opens it now."""

    def __init__(self, disk: MemoryDisk, *, durable: bool = True) -> None:
        super().__init__(disk)
        self._image = disk.log
        self._durable = durable
        self._after = 0
        self._recovered: int | None = None
        self._open = self._unsynced = False
        self._appends = self._syncs = self._bytes_appended = 0

    @property
    def next_number(self) -> int:
        if not self._open:
            raise RuntimeError("a log has a next number only once it is recovered and rewritten")
        return self._image.last + 1

    @property
    def size_bytes(self) -> int:
        return sum(len(payload) for _, payload in self._image.records)

    @property
    def wants_preparation(self) -> bool:
        return False

    def recover(self, after: int, *, salvage: bool = False) -> Iterator[tuple[int, bytes]]:
        self._begin()
        if not salvage and (self._image.begins_after > after or (after and not self._image.made)):
            raise CorruptionError(
                f"the log begins after {self._image.begins_after}, the table ends at {after}"
            )
        self._after, last = after, after
        for number, payload in list(self._image.records):
            if number > after:
                yield number, payload
                last = number
        self._recovered = last

    def rewrite(self, records: Iterable[tuple[int, bytes]]) -> None:
        tail = list(records)
        last = self._after + len(tail)
        numbers = [number for number, _ in tail]
        if self._recovered != last or numbers != [*range(self._after + 1, last + 1)]:
            raise RuntimeError("rewrite takes exactly the records that recover read, to the end")
        if self._begin("rewrite"):
            self._disk.kill("rewrite")
        self._image.records, self._image.begins_after = tail, self._after
        self._image.made = self._open = True
        self._image.synced = last
        self._recovered = None

    def append(self, number: int, payload: bytes) -> None:
        if number != self.next_number or self._unsynced or not payload:
            raise RuntimeError(f"record {number} ({len(payload)} bytes) appended out of turn")
        killed = self._begin("append")
        self._image.records.append((number, payload))
        self._unsynced = self._durable
        self._appends += 1
        self._bytes_appended += len(payload)
        if killed:
            self._disk.kill("append")

    def sync(self) -> None:
        if self._begin("sync"):
            self._disk.kill("sync")
        if self._durable:
            self._image.synced = self._image.last
            self._unsynced = False
            self._syncs += 1

    def recycle(self, upto: int) -> None:
        self._begin()
        image = self._image
        image.records = [record for record in image.records if record[0] > upto]
        image.begins_after = max(image.begins_after, upto)

    def prepare(self) -> None:
        if self._begin("prepare"):
            self._disk.kill("prepare")

    def statistics(self) -> LogStatistics:
        return LogStatistics(self._appends, self._syncs, self._bytes_appended)

    def close(self) -> None:
        """Nothing to release."""


class MemoryTable(_Device):
    """The ``Table`` of ``disk`` as the process sees it that opens it now."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk)
        self._image = disk.table
        self._view = dict(self._image.items)
        self._keys = sorted(self._view)
        self._views = 0
        self._written: list[_Changes] = []

    @property
    def commit_number(self) -> int:
        return self._image.number

    @property
    def size_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self._image.items.items())

    def get(self, key: bytes) -> bytes | None:
        return self._view.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self.range(prefix, None):
            if not key.startswith(prefix):
                return
            yield key, value

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        views = self._views
        end = len(self._keys) if stop is None else bisect_left(self._keys, stop)
        for index in range(bisect_left(self._keys, start), end):
            key = self._keys[index]
            yield key, self._view[key]
            if views != self._views:
                raise RuntimeError("the table was renewed while a scan was being read")

    def renew(self) -> None:
        self._begin()
        self._views += 1
        while self._written:
            for key, value in self._written.pop(0).items():
                self._set(key, value)

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self._view:
                insort(self._keys, key)
            self._view[key] = value
        elif key in self._view:
            del self._view[key]
            del self._keys[bisect_left(self._keys, key)]

    def open_view(self) -> MemoryView:
        self._begin()
        return MemoryView(self._image.items)

    def write(self, items: Iterable[tuple[bytes, bytes | None]], commit_number: int) -> None:
        killed = self._begin("write")
        changes = dict(items)
        self._image.commit(changes, commit_number)
        if killed:
            self._disk.kill("write")
        self._image.sync()
        self._written.append(changes)

    def sync(self) -> None:
        if self._begin("table_sync"):
            self._disk.kill("table_sync")
        self._image.sync()

    def close(self) -> None:
        """Nothing to release."""


class MemoryView:
    """The ``TableView``: a copy."""

    def __init__(self, items: dict[bytes, bytes]) -> None:
        self._items = dict(items)
        self._keys = sorted(items)

    def get(self, key: bytes) -> bytes | None:
        return self._items.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self.range(prefix, None):
            if not key.startswith(prefix):
                return
            yield key, value

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        end = len(self._keys) if stop is None else bisect_left(self._keys, stop)
        for key in self._keys[bisect_left(self._keys, start) : end]:
            yield key, self._items[key]

    def close(self) -> None:
        self._items, self._keys = {}, []

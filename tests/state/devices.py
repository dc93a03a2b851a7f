"""How the contract suite opens each twin, ends its process, and counts what is durable."""

from __future__ import annotations

from pathlib import Path
from random import Random

from mini_flink.state.base import CommitLog, Table
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.state.memory import MemoryDisk, MemoryLog, MemoryTable

SEGMENT_BYTES = 16384


class FileDevices:
    """The real devices in a folder. A kill is closing: neither device syncs or writes anything then."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable
        self._open: list[CommitLog | Table] = []

    def log(self) -> CommitLog:
        log = FileLog(self._folder / "log", segment_bytes=SEGMENT_BYTES, durable=self._durable)
        self._open.append(log)
        return log

    def table(self) -> Table:
        table = LmdbTable(self._folder / "table", map_size_bytes=1 << 30)
        self._open.append(table)
        return table

    def kill(self) -> None:
        for device in self._open:
            device.close()
        self._open.clear()


class MemoryDevices:
    """The twins on a disk in memory, where the power can be cut as well."""

    def __init__(self, *, durable: bool = True) -> None:
        self.disk = MemoryDisk()
        self._durable = durable

    def log(self) -> CommitLog:
        return MemoryLog(self.disk, durable=self._durable)

    def table(self) -> Table:
        return MemoryTable(self.disk)

    def kill(self) -> None:
        self.disk.crash()

    def power_cut(self, rng: Random) -> None:
        self.disk.power_cut(rng)


Devices = FileDevices | MemoryDevices


def opened(log: CommitLog, after: int = 0) -> CommitLog:
    """The log, recovered and ready for appending."""
    log.rewrite(list(log.recover(after)))
    return log


def append(log: CommitLog, payload: bytes) -> int:
    """One committed record; its number."""
    number = log.next_number
    log.append(number, payload)
    log.sync()
    return number

"""The progress page: what a process is doing, readable from outside and after its death.

A small file, mapped into memory by its process and by the supervisor. It owns the layout of that file, the
names of the counters, and the count of deaths at one record. Nothing here is locked or synced: a reader may
see half an update, which is enough to tell that an entry has not changed for ten seconds, and no promise
rests on it. Counters go on through restarts of the process; gauges begin at 0.

The process's own loop writes (:class:`Page`); the supervisor reads (:class:`PageReader`).
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mini_flink import metrics

FORMAT_VERSION = 1
_MAGIC = b"MFPROGRS"

WORKER_COUNTERS = (
    "records_in",
    "records_out",
    "batches",
    "commits",
    "resends",
    "duplicates",
    "gaps",
    "fenced",
    "dead_letters",
    "dropped_outputs",
    "expired",
)
GATEWAY_COUNTERS = (
    "requests",
    "answered",
    "refused",
    "timed_out",
    "late_replies",
    "extra_replies",
    "fenced",
    "resends",
)
COUNTERS = tuple(dict.fromkeys(WORKER_COUNTERS + GATEWAY_COUNTERS))
"""Only ever raised; they go on when the process is started again."""

GAUGES = ("pending", "log_bytes", "overlay_bytes", "outbox_records", "storage_full")
"""How things stand now; 0 in a new process. ``pending``: requests in a gateway, records in a worker."""

COUNTERS_OF = {"worker": (*WORKER_COUNTERS, *GAUGES), "gateway": (*GATEWAY_COUNTERS, "pending")}
"""What there is to show of a process, by its role."""

OPERATOR_LIMIT = 1024
"""Operators with a higher number run as all others, but are not counted."""

IDLE, USER_CODE, COMMIT, ASKING = 0, 1, 2, 3
STAGES = ("idle", "user code", "commit", "asking")

# magic, version, boot, pid, start of the process (clock ticks since boot), incarnation, when opened (Unix ns)
_HEADER = struct.Struct("@8sQ16sQQQQ")
# stage, since (monotonic ns), source, its session, number
_ENTRY = struct.Struct("@QQQQQ")
# an entry and, right behind it, the operator at work
_WORK = struct.Struct("@QQQQQQ")
# deaths in a row, source, session, number
_DEATH = struct.Struct("@QQQQ")
_WORD = struct.Struct("@Q")

_ENTRY_AT = 128
_OPERATOR_AT = _ENTRY_AT + _ENTRY.size
_DEATH_AT = 256
_ASKED_AT = 320
_ASKED_BYTES = 128
_VALUES_AT = 512
_VALUES = {name: _VALUES_AT + 8 * index for index, name in enumerate((*COUNTERS, *GAUGES))}
_OPERATORS_AT = 2048
_COUNTS = struct.Struct("@QQQ")
PAGE_BYTES = _OPERATORS_AT + _COUNTS.size * OPERATOR_LIMIT


class Entry(NamedTuple):
    """What is in progress: the record ``number`` of the channel from ``source`` in its ``session``; or, while
    it is being asked, a user's metric, which ``asked`` names.
    """

    source: int
    session: int
    number: int
    stage: int
    since_ns: int
    operator: int
    asked: str = ""


class Death(NamedTuple):
    """The record at which the process died, and how many times in a row it died at the same one."""

    source: int
    session: int
    number: int
    deaths: int


class OperatorCounts(NamedTuple):
    """Records into an operator, out of it, and those that failed in it."""

    received: int
    emitted: int
    failed: int


def boot_id() -> bytes:
    """16 bytes that differ after every boot; all zero where the system does not tell."""
    try:
        return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()).bytes
    except (OSError, ValueError):
        return bytes(16)


def create_page(path: str) -> None:
    """Make sure that ``path`` is a usable page; one of another format or size is made anew."""
    try:
        with open(path, "rb") as file:
            if _is_page(file.read(PAGE_BYTES + 1)):
                return
    except FileNotFoundError:
        pass
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        # Zeros are written, not left as a hole: a hole on a full disk would end the process later.
        file.write(_HEADER.pack(_MAGIC, FORMAT_VERSION, bytes(16), 0, 0, 0, 0).ljust(PAGE_BYTES, b"\0"))
    os.replace(temporary, path)


def _is_page(content: bytes) -> bool:
    start = _MAGIC + FORMAT_VERSION.to_bytes(8, "little")
    return len(content) == PAGE_BYTES and content.startswith(start)


def _death(page: mmap.mmap) -> Death | None:
    deaths, source, session, number = _DEATH.unpack_from(page, _DEATH_AT)
    return Death(source, session, number, deaths) if deaths else None


class Page:
    """The page of this process, written by its loop alone.

    Opening it takes note of how the process before ended: if it died in the middle of a record's user code,
    :meth:`previous_death` names that record. Another boot, where pages may be stale, starts at zero.
    """

    def __init__(self, path: str, incarnation: int, *, process_start: int = 0) -> None:
        create_page(path)
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), PAGE_BYTES)
        boot = boot_id()
        if _HEADER.unpack_from(self._map)[2] != boot:
            self._map[_ENTRY_AT:] = bytes(PAGE_BYTES - _ENTRY_AT)
        self._note_death()
        _ENTRY.pack_into(self._map, _ENTRY_AT, IDLE, 0, 0, 0, 0)
        for name in GAUGES:
            self.set(name, 0)
        self._before = self._map[:]
        _HEADER.pack_into(
            self._map,
            0,
            _MAGIC,
            FORMAT_VERSION,
            boot,
            os.getpid(),
            process_start,
            incarnation,
            time.time_ns(),
        )

    def _note_death(self) -> None:
        stage, since_ns, *record = _ENTRY.unpack_from(self._map, _ENTRY_AT)
        deaths, *before = _DEATH.unpack_from(self._map, _DEATH_AT)
        if stage == IDLE and since_ns == 0:
            return  # it died before it did anything: the row is not broken
        if stage != USER_CODE:
            deaths, record = 0, [0, 0, 0]
        elif record == before:
            deaths += 1
        else:
            deaths = 1
        _DEATH.pack_into(self._map, _DEATH_AT, deaths, *record)

    def previous_death(self) -> Death | None:
        """The record whose user code the process before died in."""
        return _death(self._map)

    def begin(self, source: int, session: int, number: int, operator: int = 0) -> None:
        """User code is about to run for this record."""
        now_ns = time.monotonic_ns()
        _WORK.pack_into(self._map, _ENTRY_AT, USER_CODE, now_ns, source, session, number, operator)

    def operator(self, number: int) -> None:
        """The record in progress has come to this operator."""
        _WORD.pack_into(self._map, _OPERATOR_AT, number)

    def commit(self, number: int) -> None:
        """A commit is being written."""
        _ENTRY.pack_into(self._map, _ENTRY_AT, COMMIT, time.monotonic_ns(), 0, 0, number)

    def ask(self, what: str) -> None:
        """User code that belongs to no record is about to run: a metric of theirs; empty: it has."""
        if not what:
            self.idle()
            return
        name = what.encode()[:_ASKED_BYTES].ljust(_ASKED_BYTES, b"\0")
        self._map[_ASKED_AT : _ASKED_AT + _ASKED_BYTES] = name
        _ENTRY.pack_into(self._map, _ENTRY_AT, ASKING, time.monotonic_ns(), 0, 0, 0)

    def idle(self) -> None:
        """Nothing is in progress; also the last word of a process that ends by itself."""
        _ENTRY.pack_into(self._map, _ENTRY_AT, IDLE, time.monotonic_ns(), 0, 0, 0)
        _WORD.pack_into(self._map, _OPERATOR_AT, 0)

    def set(self, gauge: str, value: int) -> None:
        """How a gauge stands now."""
        _WORD.pack_into(self._map, _VALUES[gauge], value)

    def publish(self, counts: Mapping[str, int]) -> None:
        """How often things happened since this process began; what its predecessors counted is added."""
        for name, count in counts.items():
            at = _VALUES[name]
            _WORD.pack_into(self._map, at, _WORD.unpack_from(self._before, at)[0] + count)

    def publish_operator(self, number: int, received: int, emitted: int, failed: int) -> None:
        """The same for the counts of one operator."""
        if 0 <= number < OPERATOR_LIMIT:
            at = _OPERATORS_AT + _COUNTS.size * number
            before = _COUNTS.unpack_from(self._before, at)
            _COUNTS.pack_into(self._map, at, before[0] + received, before[1] + emitted, before[2] + failed)

    def close(self) -> None:
        """Unmap the page; the file stays."""
        self._map.close()


@dataclass(frozen=True, slots=True)
class PageSnapshot:
    """A page as read at one moment; ``opened_ns`` is Unix time."""

    pid: int
    process_start: int
    incarnation: int
    opened_ns: int
    entry: Entry | None
    death: Death | None
    counters: dict[str, int]


class PageReader:
    """Somebody else's page, read without locks. Made after :func:`create_page`, good for all incarnations."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), PAGE_BYTES, access=mmap.ACCESS_READ)

    def incarnation(self) -> int:
        """Which incarnation of its process the page is of: for a while after a start, the one before."""
        incarnation: int = _HEADER.unpack_from(self._map)[5]
        return incarnation

    def entry(self) -> Entry | None:
        """What is in progress, or None: two readings that are equal mean that nothing moved."""
        stage, since_ns, source, session, number = _ENTRY.unpack_from(self._map, _ENTRY_AT)
        if stage == IDLE:
            return None
        (operator,) = _WORD.unpack_from(self._map, _OPERATOR_AT)
        asked = ""
        if stage == ASKING:
            name = self._map[_ASKED_AT : _ASKED_AT + _ASKED_BYTES]
            asked = name.rstrip(b"\0").decode(errors="replace")
        return Entry(source, session, number, stage, since_ns, operator, asked)

    def has_worked(self) -> bool:
        """Whether the process has taken up any work since it opened the page."""
        return bool(_ENTRY.unpack_from(self._map, _ENTRY_AT)[1])

    def counters(self) -> dict[str, int]:
        """All counters and gauges by name."""
        return {name: _WORD.unpack_from(self._map, at)[0] for name, at in _VALUES.items()}

    def counter(self, name: str) -> int:
        """One counter or gauge."""
        value: int = _WORD.unpack_from(self._map, _VALUES[name])[0]
        return value

    def operator(self, number: int) -> OperatorCounts:
        """The counts of one operator; zeros for a number over the limit."""
        if not 0 <= number < OPERATOR_LIMIT:
            return OperatorCounts(0, 0, 0)
        return OperatorCounts(*_COUNTS.unpack_from(self._map, _OPERATORS_AT + _COUNTS.size * number))

    def snapshot(self) -> PageSnapshot:
        """All of it but the operators."""
        _, _, _, pid, process_start, incarnation, opened_ns = _HEADER.unpack_from(self._map)
        death = _death(self._map)
        return PageSnapshot(pid, process_start, incarnation, opened_ns, self.entry(), death, self.counters())

    def close(self) -> None:
        """Unmap the page."""
        self._map.close()


def reset_counters(path: str) -> None:
    """Counters to zero, what is known of deaths stays: a new server begins, nobody has the page open."""
    create_page(path)
    metrics.forget(metrics.beside(path))
    with open(path, "r+b") as file:
        file.seek(_VALUES_AT)
        file.write(bytes(PAGE_BYTES - _VALUES_AT))


def forget_death(path: str) -> None:
    """What the process before died at is no record of the one that comes: another generation begins."""
    create_page(path)
    with open(path, "r+b") as file:
        file.seek(_ENTRY_AT)
        file.write(bytes(_DEATH_AT + _DEATH.size - _ENTRY_AT))

"""The commit log on files: numbered records in a folder of preallocated segments.

Owns the folder: no one else reads or writes there. Never interprets a payload, never syncs by itself what
was appended. Called by a worker's loop; ``prepare`` also by its background thread. The file format is in
segment.py, the contract in base.py.

Files are named ``segment-<sequence>.log``; what is not yet or no longer one is a ``spare-<sequence>.log``,
and nothing ever reads that. A segment gets its name only when its header (for a rewritten tail: all of it)
is synced, and loses it, durably, before its content is touched. So a file with the name of a segment is
one, whatever was cut off when. Segments are filled with zeros when they are made: the space is there before
it is needed, and a sync has no metadata to write.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mini_flink.errors import CorruptionError, FolderError, StorageError, StorageFullError
from mini_flink.state import segment
from mini_flink.state.base import LogStatistics
from mini_flink.state.files import FULL_HELP, says_full, sync_folder
from mini_flink.state.segment import HEADER_BYTES, Header

_FIRST_SEGMENT_BYTES = 1 << 20
_ZEROS = bytes(1 << 20)


@dataclass(slots=True)
class _Segment:
    path: Path
    descriptor: int
    header: Header
    end: int = HEADER_BYTES
    last_number: int = 0

    def has_room(self, payload_bytes: int) -> bool:
        return self.end + segment.record_bytes(payload_bytes) <= self.header.size_bytes


class FileLog:
    """A ``CommitLog`` in ``folder``, which is made if it is not there (its parent must be).

    ``durable`` decides whether ``sync`` syncs; making a segment does so always. ``generation`` is that of the
    folder: segments of another one are refused. ``read_only``: for ``recover`` alone, nothing is touched.

    >>> import tempfile
    >>> log = FileLog(Path(tempfile.mkdtemp()) / "log", segment_bytes=1 << 20, durable=True)
    >>> list(log.recover(after=0))
    []
    >>> log.rewrite([])
    >>> log.append(1, b"first")
    >>> log.sync()
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        durable: bool,
        generation: int = 1,
        read_only: bool = False,
    ) -> None:
        self._folder = folder
        self._read_only = read_only
        self._durable = durable
        self._generation = generation
        self._segment_bytes = max(_aligned(segment_bytes), 2 * HEADER_BYTES)
        self._lock = threading.Lock()  # over everything that makes or removes files
        self._found: list[tuple[Path, Header]] = []
        self._superseded: list[Path] = []
        self._after = 0
        self._last_recovered: int | None = None
        self._active: _Segment | None = None
        self._next: _Segment | None = None
        self._full: list[_Segment] = []
        self._retired: list[_Segment] = []
        self._sequence = 0
        self._unsynced = False
        self._failure: OSError | None = None
        self._appends = self._syncs = self._bytes_appended = 0
        with self._fatal("open"):
            self._open_folder()

    # --- recovery ---------------------------------------------------------------------------------------

    def _open_folder(self) -> None:
        if not self._read_only:
            self._folder.mkdir(0o700, exist_ok=True)
            for path in self._folder.glob("spare-*.log"):
                path.unlink()
            sync_folder(self._folder.parent)  # a killed process may have left the name in the page cache
        headers = [(path, self._read_header(path)) for path in sorted(self._folder.glob("segment-*.log"))]
        self._sequence = max((header.sequence for _, header in headers), default=0)
        base = max((header.sequence for _, header in headers if header.base), default=0)
        self._found = [(path, header) for path, header in headers if header.sequence >= base]
        self._superseded = [path for path, header in headers if header.sequence < base]

    def _read_header(self, path: Path) -> Header:
        with path.open("rb") as file:
            header = segment.decode_header(file.read(HEADER_BYTES), str(path))
        if header.generation != self._generation:
            raise FolderError(f"{path} is of generation {header.generation}, not of {self._generation}")
        size = path.stat().st_size
        if size != header.size_bytes:
            raise CorruptionError(f"{path} has {size} bytes, it was made with {header.size_bytes}")
        return header

    @property
    def next_number(self) -> int:
        if self._active is None:
            raise RuntimeError("a log has a next number only once it is recovered and rewritten")
        return self._active.last_number + 1

    def recover(self, after: int, *, salvage: bool = False) -> Iterator[tuple[int, bytes]]:
        self._after, last = after, after
        try:
            for number, payload in self._checked_records(after):
                yield number, payload
                last = number
        except CorruptionError:
            if not salvage:
                raise
        self._last_recovered = last

    def _checked_records(self, after: int) -> Iterator[tuple[int, bytes]]:
        if after and not self._found:
            raise CorruptionError(f"{self._folder} holds no log, but the table has commit {after}")
        begins_after = max((header.after for _, header in self._found), default=0)
        if begins_after > after:
            raise CorruptionError(
                f"{self._folder} begins after {begins_after}, but the table ends at {after}"
            )
        last = 0
        for path, data, magic in self._in_order():
            for number, payload in segment.read_records(data, magic, str(path)):
                due = max(last, after) + 1
                if number <= last or number > due:
                    raise CorruptionError(f"{path} holds record {number}, but {due} is missing")
                last = number
                if number > after:
                    yield number, payload

    def _in_order(self) -> Iterator[tuple[Path, bytes, bytes]]:
        """Segments are filled in the order of their records, not always in that of their sequence numbers."""
        firsts = []
        for path, header in self._found:
            with self._fatal("read"), path.open("rb") as file:
                first = segment.first_number(file.read(2 * HEADER_BYTES), header.magic)
            firsts.append((first or 0, path, header.magic))
        for _, path, magic in sorted(firsts):
            with self._fatal("read"):
                data = path.read_bytes()
            yield path, data, magic

    def rewrite(self, records: Iterable[tuple[int, bytes]]) -> None:
        tail = list(records)
        last = self._after + len(tail)
        numbers = [number for number, _ in tail]
        if self._read_only or self._last_recovered != last or numbers != [*range(self._after + 1, last + 1)]:
            raise RuntimeError("rewrite takes exactly the records that recover read, to the end")
        tail_bytes = sum(segment.record_bytes(len(payload)) for _, payload in tail)
        room = min(self._segment_bytes, _FIRST_SEGMENT_BYTES)
        with self._lock:
            fresh = self._make_segment(_aligned(HEADER_BYTES + tail_bytes + room), base=True, tail=tail)
            self._remove_older()
        fresh.last_number = last
        self._active = fresh
        self._last_recovered = None

    def _remove_older(self) -> None:
        """Gone for good before anything new is numbered: no later crash can bring them back."""
        with self._fatal("remove old segments of"):
            for path in [*self._superseded, *(path for path, _ in self._found)]:
                path.unlink()
            self._sync_names()
        self._superseded, self._found = [], []

    # --- appending --------------------------------------------------------------------------------------

    def append(self, number: int, payload: bytes) -> None:
        if number != self.next_number or self._unsynced or not payload:
            raise RuntimeError(f"record {number} ({len(payload)} bytes) appended out of turn")
        self._check_usable()
        active = self._segment_with_room(len(payload))
        with self._fatal("write"):
            _write_record(active, number, payload)
        active.last_number = number
        self._unsynced = self._durable
        self._appends += 1
        self._bytes_appended += len(payload)

    def sync(self) -> None:
        self._check_usable()
        if self._durable and self._active is not None:
            with self._fatal("sync", no_space_is_fatal=True):
                os.fdatasync(self._active.descriptor)
            self._unsynced = False
            self._syncs += 1

    def _segment_with_room(self, payload_bytes: int) -> _Segment:
        active = self._active
        if active is None:
            raise RuntimeError("a log takes records only once it is recovered and rewritten")
        if active.has_room(payload_bytes):
            return active
        with self._lock:
            following = self._following(payload_bytes)
        following.last_number = active.last_number
        os.close(active.descriptor)
        self._full.append(active)
        self._active = following
        return following

    def _following(self, payload_bytes: int) -> _Segment:
        """The prepared segment if the record fits in it, else one made now."""
        prepared = self._next
        if prepared is not None and prepared.has_room(payload_bytes):
            self._next = None
            return prepared
        needed = _aligned(HEADER_BYTES + segment.record_bytes(payload_bytes))
        return self._make_segment(max(self._segment_bytes, needed))

    # --- space ------------------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        segments = [*self._full, *self._retired, self._active, self._next]
        return sum(one.header.size_bytes for one in segments if one is not None)

    @property
    def wants_preparation(self) -> bool:
        active = self._active
        runs_short = active is not None and self._next is None and 2 * active.end > active.header.size_bytes
        return runs_short or (bool(self._retired) and bool(self._excess()))

    def _excess(self) -> list[_Segment]:
        """Retired segments that are not worth keeping: all but one that can be used again."""
        reusable = [one for one in self._retired if one.header.size_bytes == self._segment_bytes][:1]
        return [one for one in self._retired if one not in reusable]

    def recycle(self, upto: int) -> None:
        while self._full and self._full[0].last_number <= upto:
            self._retired.append(self._full.pop(0))

    def prepare(self) -> None:
        self._check_usable()
        if not self.wants_preparation:
            return
        with self._lock:
            if self._next is None:
                self._next = self._make_segment(self._segment_bytes)
            for one in self._excess():
                with self._fatal("remove old segments of"):
                    one.path.unlink()
                self._retired.remove(one)

    def _make_segment(
        self, size_bytes: int, base: bool = False, tail: Sequence[tuple[int, bytes]] = ()
    ) -> _Segment:
        """A segment that is on disk, name, header and ``tail``; a retired one is used again where it fits."""
        after = self._after if base else 0
        header = Header(self._sequence + 1, os.urandom(8), self._generation, size_bytes, base, after)
        spare = self._folder / f"spare-{header.sequence:016x}.log"
        with self._fatal("make a segment in"):
            made = _Segment(spare, self._allocate(spare, size_bytes), header)
        try:
            with self._fatal("make a segment in"):
                _write(made.descriptor, header.encode(), 0)
                for number, payload in tail:
                    _write_record(made, number, payload)
            self._publish(made)
        except StorageFullError:
            os.close(made.descriptor)
            spare.unlink()
            raise
        self._sequence = header.sequence
        return made

    def _allocate(self, spare: Path, size_bytes: int) -> int:
        """The descriptor of a file of that size whose space is all there, named ``spare``."""
        reusable = next((one for one in self._retired if one.header.size_bytes == size_bytes), None)
        if reusable is not None:
            reusable.path.rename(spare)
            self._retired.remove(reusable)
            self._sync_names()  # it is no segment any more, before its header is overwritten
            return os.open(spare, os.O_RDWR | os.O_CLOEXEC)
        descriptor = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _fill(descriptor, size_bytes)
        except OSError:
            os.close(descriptor)
            spare.unlink()
            raise
        return descriptor

    def _publish(self, made: _Segment) -> None:
        with self._fatal("sync", no_space_is_fatal=True):
            os.fsync(made.descriptor)
        path = self._folder / f"segment-{made.header.sequence:016x}.log"
        with self._fatal("make a segment in"):
            made.path.rename(path)
        made.path = path
        self._sync_names()

    def _sync_names(self) -> None:
        with self._fatal("sync", no_space_is_fatal=True):
            sync_folder(self._folder)

    # --- errors -----------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._failure is not None:
            self._raise("use again", self._failure)

    @contextmanager
    def _fatal(self, action: str, *, no_space_is_fatal: bool = False) -> Iterator[None]:
        """Turns an OSError into a StorageError, and remembers it unless it only says that space lacks."""
        try:
            yield
        except OSError as error:
            if says_full(error.errno) and not no_space_is_fatal:
                raise StorageFullError(
                    f"no space left for the log in {self._folder}", help=FULL_HELP
                ) from error
            self._failure = error
            self._raise(action, error)

    def _raise(self, action: str, error: OSError) -> NoReturn:
        raise StorageError(f"cannot {action} the log in {self._folder}: {error}") from error

    def statistics(self) -> LogStatistics:
        return LogStatistics(self._appends, self._syncs, self._bytes_appended)

    def close(self) -> None:
        for one in (self._active, self._next):
            if one is not None:
                os.close(one.descriptor)
        self._active = self._next = None


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // HEADER_BYTES) * HEADER_BYTES


def _write_record(into: _Segment, number: int, payload: bytes) -> None:
    header = segment.record_header(into.header.magic, number, payload)
    _write(into.descriptor, header + payload, into.end)
    into.end += segment.record_bytes(len(payload))


def _write(descriptor: int, data: bytes, offset: int) -> None:
    """All of ``data``: a write may be short without an error."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)


def _fill(descriptor: int, size_bytes: int) -> None:
    for offset in range(0, size_bytes, len(_ZEROS)):
        _write(descriptor, _ZEROS[: size_bytes - offset], offset)

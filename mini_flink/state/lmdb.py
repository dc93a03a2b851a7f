"""The table on LMDB: one environment per worker, and the only module that knows lmdb.

Owns the folder with ``data.mdb`` and ``lock.mdb``. A commit is a synced LMDB transaction (data first, then
the page that makes it valid), so a crash leaves the last one or the one before. Called by a worker's loop;
``write`` by its background thread. The contract is in base.py. ``LmdbLoader`` fills a new table before there
is a worker.

Never here, because they lose commits, corrupt or kill: ``sync=False``, ``metasync=False``,
``writemap=True``, ``map_async=True``; resizing an open map; opening it twice; forking with it open. LMDB
has no checksums, so each value is stored with one of its own, over key and value: what has rotted is not
read. A bit that rots in a key hides the item until it is scanned; the walk of ``python -m lmdb verify`` sees
pages whose structure is broken.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from zlib import crc32

import lmdb

from mini_flink.errors import CorruptionError, FolderError, StorageError, StorageFullError
from mini_flink.state import layout, sizes
from mini_flink.state.files import FULL_HELP, says_full, sync_folder
from mini_flink.state.layout import after_prefix
from mini_flink.state.sizes import Sizes
from mini_flink.state.sorting import sorted_slices

FORMAT_VERSION = 2
"""Format 1 had no checksums; a table of that format is read and written as it is."""

_LIBRARY_VERSION = 0  # the engine, and with it the file format, of LMDB 0.9; that of 1.0 cannot be read by it
_MAX_READERS = 512
_MAX_KEY_BYTES = 511
_DIGEST_BYTES = 32
_HEAD_BYTES = _MAX_KEY_BYTES - _DIGEST_BYTES
_KEY_LENGTH_BYTES = 4
_SEAL_BYTES = 4
_RESIDUE = 0x2144DF1C
"""The CRC-32 of anything with its own CRC-32 behind it."""
_NUMBER_BYTES = 8
_FULL_BYTES = 1 << 20
_LOAD_ITEMS = 200_000
_LOAD_BYTES = 32 << 20

_DAMAGED = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.NotFoundError)

_DATABASES = (b"meta", b"records", b"long")
_SIZES = b"sizes"
_COUNTED_AT_OPENING = 200_000
"""Items that are counted at once in a table that says nothing of its sizes; it takes about 0.1 s."""

_Item = tuple[bytes, bytes | None]


class LmdbTable:
    """A ``Table`` in ``folder``, which is made, synced, if it is not there (its parent must be).

    ``map_size_bytes`` is address space, not disk space: large, and the same at every start. ``generation``
    is that of the folder: a table of another one is refused. Keys of more than 511 bytes, LMDB's limit, are
    stored under their head and a digest, the whole key with the value.
    """

    def __init__(self, folder: Path, *, map_size_bytes: int, generation: int = 1) -> None:
        self._folder = folder
        self._failure: Exception | None = None
        with self._fatal("open"):
            if not (folder / "data.mdb").exists():
                _create(folder, map_size_bytes, generation)
            sync_folder(folder)  # a killed process may have left the names in the page cache
            sync_folder(folder.parent)
            self._environment = _open(folder, map_size_bytes)
        with ExitStack() as stack:
            stack.callback(self._environment.close)
            self._open_databases(generation)
            stack.pop_all()

    def _open_databases(self, generation: int) -> None:
        with self._fatal("read"):
            self._environment.reader_check()
            self._meta, self._records, self._long = (
                self._environment.open_db(name, create=False) for name in _DATABASES
            )
            with self._environment.begin(self._meta) as transaction:
                version, self._commit_number = _read_meta(transaction, self._folder, generation)
                self._counts = sizes.unpack(transaction.get(_SIZES), self._commit_number)
            self._is_sealed = version > 1
            if self._counts is None and self.entries <= _COUNTED_AT_OPENING:
                self._counts = self._counted()
        self._reader = self._new_reader()

    @property
    def commit_number(self) -> int:
        return self._commit_number

    @property
    def size_bytes(self) -> int:
        return (self._folder / "data.mdb").stat().st_size

    @property
    def held(self) -> Sizes | None:
        """What the last ``write`` left; None in a large table that a program without counting has written."""
        return None if self._counts is None else sizes.named(self._counts)

    @property
    def entries(self) -> int:
        """How many items there are, of whatever kind."""
        with self._environment.begin() as transaction:
            found = (transaction.stat(database)["entries"] for database in (self._records, self._long))
            return sum(found)

    def _counted(self) -> sizes.Counts:
        """Looks at every item."""
        counts: sizes.Counts = {}
        with self._environment.begin() as transaction:
            for database in (self._records, self._long):
                for key, stored in transaction.cursor(database):
                    group = sizes.group_of(key)
                    if group is not None:
                        sizes.note(counts, group, 1, len(key) + len(stored))
        return counts

    @property
    def used_bytes(self) -> int:
        """What of the file holds something, as of the last renewal."""
        with self._fatal("read"):
            return self._reader.used_bytes

    # --- reading ----------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._reader.get(key)
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self.range(prefix, after_prefix(prefix))

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        reader = self._reader
        with self._fatal("read"):
            for item in reader.range(start, stop):
                yield item
                if reader is not self._reader:
                    raise RuntimeError("the table was renewed while a scan was being read")

    def renew(self) -> None:
        self._check_usable()
        with self._fatal("read"):
            self._reader.close()
            self._reader = self._new_reader()

    def open_view(self) -> LmdbView:
        self._check_usable()
        with self._fatal("read"):
            return LmdbView(self._new_reader(), self._fatal)

    def _new_reader(self) -> _Reader:
        return _Reader(self._environment, self._records, self._long, is_sealed=self._is_sealed)

    # --- writing ----------------------------------------------------------------------------------------

    def write(self, items: Iterable[_Item], commit_number: int) -> None:
        self._check_usable()
        with self._fatal("write"), self._environment.begin(self._records, write=True) as transaction:
            grown: sizes.Counts = {}
            for part in sorted_slices(items):
                self._apply(transaction, part, grown)
                time.sleep(0)
            number = commit_number.to_bytes(_NUMBER_BYTES, "big")
            transaction.put(b"commit_number", number, db=self._meta)
            counts = None if self._counts is None else sizes.added(self._counts, grown)
            if counts is not None:
                transaction.put(_SIZES, sizes.pack(counts, commit_number), db=self._meta)
        self._commit_number = commit_number
        self._counts = counts

    def _apply(self, transaction: Any, part: list[_Item], grown: sizes.Counts) -> None:
        for key, value in part:
            _write_item(transaction, self._records, self._long, key, value, grown, is_sealed=self._is_sealed)

    def sync(self) -> None:
        self._check_usable()
        with self._fatal("sync", no_space_is_fatal=True):
            self._environment.sync(True)

    def close(self) -> None:
        self._reader.close()
        self._environment.close()

    # --- errors -----------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failed("use", self._failure) from self._failure

    @contextmanager
    def _fatal(self, action: str, *, no_space_is_fatal: bool = False) -> Iterator[None]:
        """Names the table in an error, and remembers it unless it only says that space lacks.

        A transaction that found no space is undone as a whole: what it wrote is referred to by no valid page.
        """
        try:
            yield
        except (lmdb.Error, OSError) as error:
            if _is_full(error, self._folder) and not no_space_is_fatal:
                raise _no_space(self._folder) from error
            raise self._failed(action, error) from error

    def _failed(self, action: str, error: Exception) -> StorageError:
        self._failure = error
        return _unusable(self._folder, action, error)


class LmdbLoader:
    """Fills a new table in ``folder`` (its parent must be there) with commit number 0, in large transactions.

    The table is there once ``finish`` returns, whole and durable; before that the folder holds a draft, which
    is thrown away with it. Any error leaves nothing to go on with: ``close`` and remove the folder.
    """

    def __init__(self, folder: Path, *, map_size_bytes: int, generation: int) -> None:
        self._folder = folder
        with self._named("create"):
            self._environment = _create_draft(folder, map_size_bytes, generation)
        self._meta, self._records, self._long = map(self._environment.open_db, _DATABASES)
        self._transaction: Any = None
        self._aside: list[tuple[bytes, bytes]] = []
        self._last = b""
        self._items = self._bytes = 0  # of the transaction
        self._counts: sizes.Counts = {}

    def put(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Add ``items``; those whose keys ascend, also from call to call, fastest.

        Of the same key the last value stays.
        """
        source = iter(items)
        with self._named("fill"):
            self._append(source)
            while self._is_full:
                self._commit()
                self._append(source)

    def _append(self, source: Iterator[tuple[bytes, bytes]]) -> None:
        """Take items up to a full transaction. LMDB is silent on what it cannot append: it is counted."""
        before = self._items
        cursor = self._begun().cursor(self._records)
        counts = cursor.putmulti(self._appendable(source), append=True)
        appended = self._items - before - len(self._aside)
        if counts != (appended, appended):
            raise StorageError(f"the table in {self._folder} has not taken all that it was given")
        self._aside.sort(key=itemgetter(0))
        for key, value in self._aside:
            self._write(key, value)
        self._aside.clear()

    def _appendable(self, source: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Those that go behind all that is there; the others are put aside."""
        items, size, last, aside = self._items, self._bytes, self._last, self._aside
        run, run_items, run_bytes = b"", 0, 0  # neighbours count for the same, most of the time
        for item in source:
            key, value = item
            items += 1
            size += len(key) + len(value)
            if last < key and len(key) <= _MAX_KEY_BYTES:
                last = key
                if key[: layout.STATE_PREFIX_BYTES] != run:
                    self._note_run(run, run_items, run_bytes)
                    run, run_items, run_bytes = key[: layout.STATE_PREFIX_BYTES], 0, 0
                run_items += 1
                run_bytes += len(key) + len(value) + _SEAL_BYTES
                yield key, _sealed(key, value)
            else:
                aside.append(item)
            if items >= _LOAD_ITEMS or size >= _LOAD_BYTES:
                break
        self._note_run(run, run_items, run_bytes)
        self._items, self._bytes, self._last = items, size, last

    def _note_run(self, prefix: bytes, items: int, size: int) -> None:
        group = sizes.group_of(prefix)
        if group is not None:
            sizes.note(self._counts, group, items, size)

    def apply(self, changes: Iterable[_Item]) -> None:
        """Put and (where the value is None) delete, in any order."""
        with self._named("change"):
            for key, value in changes:
                self._write(key, value)
                self._items += 1
                self._bytes += len(key) + len(value or b"")
                self._last = max(self._last, key)
                if self._is_full:
                    self._commit()

    @property
    def _is_full(self) -> bool:
        return self._items >= _LOAD_ITEMS or self._bytes >= _LOAD_BYTES

    def _write(self, key: bytes, value: bytes | None) -> None:
        _write_item(self._begun(), self._records, self._long, key, value, self._counts, is_sealed=True)

    def _begun(self) -> Any:
        if self._transaction is None:
            self._transaction = self._environment.begin(self._records, write=True)
        return self._transaction

    def _commit(self) -> None:
        transaction, self._transaction = self._transaction, None
        self._items = self._bytes = 0
        if transaction is not None:
            transaction.commit()

    def sync(self) -> None:
        """Make durable what is there so far, so that less is left to ``finish``."""
        with self._named("sync"):
            self._commit()

    def finish(self) -> None:
        """The table is whole: it gets its name, durably."""
        with self._named("finish"):
            self._begun().put(_SIZES, sizes.pack(self._counts, 0), db=self._meta)
            self._commit()
            self.close()
            _name_draft(self._folder)
            sync_folder(self._folder)
            sync_folder(self._folder.parent)

    def close(self) -> None:
        """Let go of the files; without ``finish`` there is no table."""
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None
        self._environment.close()

    @contextmanager
    def _named(self, action: str) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            full = _is_full(error, self._folder)
            raise (_no_space(self._folder) if full else _unusable(self._folder, action, error)) from error


def _no_space(folder: Path) -> StorageFullError:
    return StorageFullError(f"no space left for the table in {folder}", help=FULL_HELP)


def _unusable(folder: Path, action: str, error: Exception) -> StorageError:
    kind = CorruptionError if isinstance(error, _DAMAGED) else StorageError
    return kind(f"cannot {action} the table in {folder}: {error}")


def _write_item(
    transaction: Any,
    records: Any,
    long: Any,
    key: bytes,
    value: bytes | None,
    grown: sizes.Counts,
    *,
    is_sealed: bool,
) -> None:
    """Puts or deletes one item in the database that is for keys of its length, and counts what has grown."""
    database, group = records, sizes.group_of(key)
    if len(key) > _MAX_KEY_BYTES:
        database = long
        value = None if value is None else _join_entry(key, value)
        key = _short_key(key)
    if value is None:
        if group is None:
            transaction.delete(key, db=database)
        elif (gone := transaction.pop(key, db=database)) is not None:
            sizes.note(grown, group, -1, -len(key) - len(gone))
        return
    stored = _sealed(key, value) if is_sealed else value
    if group is None:
        transaction.put(key, stored, db=database)
        return
    before = transaction.replace(key, stored, db=database)
    if before is None:
        sizes.note(grown, group, 1, len(key) + len(stored))
    else:
        sizes.note(grown, group, 0, len(stored) - len(before))


class _Reader:
    """One read transaction."""

    def __init__(self, environment: Any, records: Any, long: Any, *, is_sealed: bool) -> None:
        self._transaction = environment.begin(records)
        self._is_sealed = is_sealed
        self._records = records
        self._long = long
        self._has_long = self._transaction.stat(long)["entries"] > 0

    @property
    def used_bytes(self) -> int:
        """The pages of both databases."""
        used_bytes = 0
        for database in (self._records, self._long):
            found = self._transaction.stat(database)
            pages: int = found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
            used_bytes += pages * found["psize"]
        return used_bytes

    def get(self, key: bytes) -> bytes | None:
        if len(key) <= _MAX_KEY_BYTES:
            return self._get(key, self._records)
        entry = self._get(_short_key(key), self._long)
        return None if entry is None else _split_entry(entry)[1]

    def _get(self, key: bytes, database: Any) -> bytes | None:
        stored: bytes | None = self._transaction.get(key, db=database)
        return _unsealed(key, stored) if stored is not None and self._is_sealed else stored

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        short = self._range(self._records, start, stop)
        if not self._has_long:
            return short
        return heapq.merge(short, self._long_range(start, stop), key=itemgetter(0))

    def _long_range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Entries are ordered by their key's head only: those that share one are sorted here."""
        entries = self._range(self._long, start[:_HEAD_BYTES], None)
        for head, group in groupby(entries, key=_head):
            if stop is not None and head > stop[:_HEAD_BYTES]:
                return
            for key, value in sorted(_split_entry(entry) for _, entry in group):
                if key >= start and (stop is None or key < stop):
                    yield key, value

    def _range(self, database: Any, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._transaction.cursor(database)
        found = cursor.set_range(start) if start else cursor.first()
        for key, value in cursor if found else ():
            if stop is not None and key >= stop:
                return
            yield key, _unsealed(key, value) if self._is_sealed else value

    def close(self) -> None:
        self._transaction.abort()


class LmdbView:
    """The ``TableView`` of an ``LmdbTable``; to be closed before it."""

    def __init__(self, reader: _Reader, fatal: Callable[[str], AbstractContextManager[None]]) -> None:
        self._reader = reader
        self._fatal = fatal

    def get(self, key: bytes) -> bytes | None:
        with self._fatal("read"):
            return self._reader.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self.range(prefix, after_prefix(prefix))

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        with self._fatal("read"):
            yield from self._reader.range(start, stop)

    def close(self) -> None:
        self._reader.close()


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether an error only says that space lacks.

    LMDB calls it an I/O error when a file system takes a part of what it writes. That comes before the page
    that would make the transaction valid; after an error of writing that one LMDB refuses everything.
    """
    if isinstance(error, OSError):
        return says_full(error.errno)
    code = getattr(error, "code", None)
    short_write = code == errno.EIO and _free_bytes(folder) < _FULL_BYTES
    return isinstance(error, lmdb.MapFullError) or says_full(code) or short_write


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


# --- files --------------------------------------------------------------------------------------------------


def _open(path: Path, map_size_bytes: int, *, subdir: bool = True) -> Any:
    return lmdb.open(
        os.fspath(path),
        map_size=map_size_bytes,
        subdir=subdir,
        mode=0o600,
        max_dbs=3,
        max_readers=_MAX_READERS,
        readahead=False,  # reads are of single keys in no order
        lib_version=_LIBRARY_VERSION,
    )


def _create(folder: Path, map_size_bytes: int, generation: int) -> None:
    """An environment is not crash-safe before its first commit: it gets its name after that."""
    _create_draft(folder, map_size_bytes, generation).close()
    _name_draft(folder)


def _create_draft(folder: Path, map_size_bytes: int, generation: int) -> Any:
    folder.mkdir(0o700, exist_ok=True)
    draft = folder / "data.mdb.new"
    for leftover in (draft, folder / "data.mdb.new-lock", folder / "lock.mdb"):
        leftover.unlink(missing_ok=True)
    environment = _open(draft, map_size_bytes, subdir=False)
    with ExitStack() as stack:
        stack.callback(environment.close)
        _write_first(environment, generation)
        stack.pop_all()
    return environment


def _name_draft(folder: Path) -> None:
    """The draft, whose environment is closed, is whole: it becomes the table."""
    (folder / "data.mdb.new-lock").unlink()
    (folder / "data.mdb.new").rename(folder / "data.mdb")


def _write_first(environment: Any, generation: int) -> None:
    with environment.begin(write=True) as transaction:
        meta, *_ = (environment.open_db(name, transaction) for name in _DATABASES)
        numbers = {b"format_version": FORMAT_VERSION, b"generation": generation, b"commit_number": 0}
        for name, number in numbers.items():
            transaction.put(name, number.to_bytes(_NUMBER_BYTES, "big"), db=meta)
    environment.sync(True)


def _read_meta(transaction: Any, folder: Path, generation: int) -> tuple[int, int]:
    """Format and commit number, if this version can read the table and it is of this generation."""

    def number(name: bytes) -> int:
        return int.from_bytes(transaction.get(name, b""), "big")

    if number(b"format_version") > FORMAT_VERSION:
        raise FolderError(
            f"{folder} has table format version {number(b'format_version')}, this mini_flink reads up to "
            f"{FORMAT_VERSION}",
            help="start it with the newer mini_flink that wrote it",
        )
    if number(b"generation") != generation:
        raise FolderError(
            f"{folder} is of generation {number(b'generation')}, not of {generation}",
            help="put back the folder that belongs here, or serve with --restore latest",
        )
    return number(b"format_version"), number(b"commit_number")


# --- checksums ----------------------------------------------------------------------------------------------


def _sealed(key: bytes, value: bytes) -> bytes:
    """A value as it is stored: with the CRC-32 of key and value behind it."""
    return value + crc32(value, crc32(key)).to_bytes(_SEAL_BYTES, "little")


def _unsealed(key: bytes, stored: bytes) -> bytes:
    """The value, if nothing has changed in it since it was written."""
    if crc32(stored, crc32(key)) != _RESIDUE:
        raise lmdb.CorruptedError(f"the checksum of an item differs (its key begins with {key[:32].hex()})")
    return stored[:-_SEAL_BYTES]


# --- keys ---------------------------------------------------------------------------------------------------


def _short_key(key: bytes) -> bytes:
    return key[:_HEAD_BYTES] + hashlib.blake2b(key, digest_size=_DIGEST_BYTES).digest()


def _join_entry(key: bytes, value: bytes) -> bytes:
    return len(key).to_bytes(_KEY_LENGTH_BYTES, "big") + key + value


def _split_entry(entry: bytes) -> tuple[bytes, bytes]:
    end = _KEY_LENGTH_BYTES + int.from_bytes(entry[:_KEY_LENGTH_BYTES], "big")
    return entry[_KEY_LENGTH_BYTES:end], entry[end:]


def _head(item: tuple[bytes, bytes]) -> bytes:
    return item[0][:_HEAD_BYTES]

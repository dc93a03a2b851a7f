"""The format of a file with a part's items: by ascending key, in checked blocks, with an end that says so.

    header   magic, format version, checksum
    blocks   length, checksum, msgpack array [key, value, key, value, …] of about 64 KiB; nil = deleted
    footer   length 0, checksum, number of items, magic; nothing follows

A checksum covers the length and what follows it. Whatever is cut off, changed, put in another order or
written by somebody else is a ``CorruptionError`` that names the file. A reader holds one block in memory.

The writer works beside a loop that must answer in milliseconds: it packs a block at a time and lets go of the
interpreter's lock while it checks and writes it. It never sleeps; its caller may.
"""

from __future__ import annotations

import hashlib
import operator
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

import msgpack

from mini_flink.errors import CorruptionError, DecodeError, FolderError
from mini_flink.snapshots.base import FileWriter, SnapshotStore
from mini_flink.snapshots.manifest import FileEntry, FileKind
from mini_flink.wire import MAX_MESSAGE_BYTES, unpack

FORMAT_VERSION = 1
BLOCK_BYTES = 64 << 10

_MAGIC = b"MFSNAPF1"
_END_MAGIC = b"MFSNAPE1"
_PREAMBLE = struct.Struct("<8sI")  # magic, format version: these stay where they are in every version
_CHECKSUM = struct.Struct("<I")
_BLOCK = struct.Struct("<II")  # payload bytes, checksum
_LENGTH = struct.Struct("<I")
_FOOTER = struct.Struct("<Q8s")
_HEADER_BYTES = _PREAMBLE.size + _CHECKSUM.size
_MAX_ITEM_BYTES = MAX_MESSAGE_BYTES
_MAX_BLOCK_BYTES = BLOCK_BYTES + _MAX_ITEM_BYTES + 64
_BINARY_OVERHEAD = 2
_LARGE_BATCH_BYTES = 4 * BLOCK_BYTES

Item = tuple[bytes, bytes | None]


class Stream(Protocol):
    """What is read from; a ``FileReader`` is one."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none only at the end."""
        ...


class ItemWriter:
    """Writes one item file through ``file``; ends with ``finish`` or ``abort``."""

    def __init__(self, file: FileWriter, kind: FileKind) -> None:
        self._file = file
        self._kind = kind
        self._pack = msgpack.Packer(autoreset=True, use_bin_type=True).pack
        self._digest = hashlib.sha256()
        self._size_bytes = self._items = 0
        self._last = b""
        self._block: list[bytes | None] = []
        self._room = BLOCK_BYTES
        self._write(_header())

    def add(self, key: bytes, value: bytes | None) -> None:
        """Adds an item behind all others; None says that the key is deleted."""
        if key <= self._last:
            raise ValueError(f"key {key!r} comes after {self._last!r} in {self._file.path}")
        self._last = key
        self._block += (key, value)
        self._room -= len(key) + _BINARY_OVERHEAD
        if value is not None:
            self._room -= len(value) + _BINARY_OVERHEAD
        if self._room <= 0:
            self._write_block()

    def add_all(self, items: Sequence[Item]) -> None:
        """Adds several items, if they are small faster than one by one."""
        keys = [key for key, _ in items]
        values = sum(len(value) for _, value in items if value is not None)
        size = sum(map(len, keys)) + values + 2 * _BINARY_OVERHEAD * len(items)
        if not items or size > _LARGE_BATCH_BYTES:
            for key, value in items:
                self.add(key, value)
            return
        if keys[0] <= self._last or not all(map(operator.lt, keys, keys[1:])):
            raise ValueError(f"keys from {keys[0]!r} on are out of order in {self._file.path}")
        self._last = keys[-1]
        self._block += chain.from_iterable(items)
        self._room -= size
        if self._room <= 0:
            self._write_block()

    def finish(self) -> FileEntry:
        """Makes the file visible and durable; what a manifest says of it."""
        if self._block:
            self._write_block()
        self._write(_footer(self._items))
        self._file.commit()
        return FileEntry(self._file.path, self._kind, self._size_bytes, self._items, self._digest.hexdigest())

    def abort(self) -> None:
        """Drops the file; does nothing once it is finished."""
        self._file.abort()

    def _write_block(self) -> None:
        payload = self._pack(self._block)
        if len(payload) > _MAX_BLOCK_BYTES:
            raise ValueError(f"an item of {len(payload)} bytes is too large for {self._file.path}")
        self._items += len(self._block) // 2
        self._block = []
        self._room = BLOCK_BYTES
        self._write(_BLOCK.pack(len(payload), _checksum(len(payload), payload)))
        self._write(payload)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)
        self._size_bytes += len(data)


def write_items(store: SnapshotStore, path: str, kind: FileKind, items: Iterable[Item]) -> FileEntry:
    """A whole item file at ``path``; on any failure nothing of it stays."""
    writer = ItemWriter(store.write(path), kind)
    try:
        for key, value in items:
            writer.add(key, value)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def read_items(stream: Stream, name: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[Item]:
    """The items with ``start <= key < stop``, by ascending key; no ``stop`` means to the end.

    CorruptionError that names the file as ``name`` when it comes to a damaged place: what was given out
    before is as it was written. FolderError for the format of a newer version.
    """
    _check_header(stream, name)
    last = b""
    for block in _blocks(stream, name):
        keys, values = block[::2], block[1::2]
        if keys[0] <= last:
            raise CorruptionError(f"{name} is damaged: its blocks are not in order")
        last = keys[-1]
        if stop is not None and keys[0] >= stop:
            return
        if keys[0] >= start and (stop is None or last < stop):
            yield from zip(keys, values, strict=True)
        elif last >= start:
            for key, value in zip(keys, values, strict=True):
                if key >= start and (stop is None or key < stop):
                    yield key, value


def check_file(store: SnapshotStore, entry: FileEntry, read: Callable[[int], None] = lambda _: None) -> None:
    """Reads all of a file and compares it with its entry; CorruptionError that names it if it differs.

    SnapshotMissingError if it is not there. ``read`` hears of each piece of so many bytes.
    """
    check_size(store, entry)
    name = name_of(store, entry)
    with store.read(entry.path) as file:
        digesting = _Digesting(file, read)
        number = sum(1 for _ in read_items(digesting, name))
    if digesting.digest.hexdigest() != entry.sha256:
        raise CorruptionError(f"{name} is not the file that was written: its SHA-256 differs")
    if number != entry.items:
        raise CorruptionError(f"{name} has {number} items, not {entry.items}")


def check_size(store: SnapshotStore, entry: FileEntry) -> None:
    """CorruptionError if a file has another size than its entry says; SnapshotMissingError without it."""
    size = store.size(entry.path)
    if size != entry.size_bytes:
        raise CorruptionError(
            f"{name_of(store, entry)} has {size} bytes, it was written with {entry.size_bytes}"
        )


def name_of(store: SnapshotStore, entry: FileEntry) -> str:
    """A file as it is named in errors."""
    return f"{store.location}/{entry.path}"


class _Digesting:
    """Computes a file's SHA-256 while it is read."""

    def __init__(self, file: Stream, read: Callable[[int], None]) -> None:
        self._file = file
        self._tell = read
        self.digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self._tell(len(data))
        return data


def _blocks(stream: Stream, name: str) -> Iterator[list[bytes]]:
    number = 0
    while True:
        length, checksum = _BLOCK.unpack(_exactly(stream, _BLOCK.size, name))
        if length > _MAX_BLOCK_BYTES:
            raise CorruptionError(f"{name} is damaged: a block of {length} bytes")
        payload = _exactly(stream, length or _FOOTER.size, name)
        if _checksum(length, payload) != checksum:
            raise CorruptionError(f"{name} is damaged: a checksum behind item {number} does not match")
        if not length:
            break
        block = _decoded(payload, name)
        number += len(block) // 2
        yield block
    if payload != _FOOTER.pack(number, _END_MAGIC) or stream.read(1):
        raise CorruptionError(f"{name} is damaged: it does not end after item {number}")


def _decoded(payload: bytes, name: str) -> list[bytes]:
    try:
        block: list[bytes] = unpack(payload)
    except DecodeError as error:
        raise CorruptionError(f"{name} is damaged: {error.message}") from error
    return block


def _exactly(stream: Stream, size: int, name: str) -> bytes:
    data = stream.read(size)
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise CorruptionError(f"{name} is damaged: it is cut off")
        data += more
    return data


def _header() -> bytes:
    preamble = _PREAMBLE.pack(_MAGIC, FORMAT_VERSION)
    return preamble + _CHECKSUM.pack(zlib.crc32(preamble))


def _check_header(stream: Stream, name: str) -> None:
    header = _exactly(stream, _HEADER_BYTES, name)
    magic, version = _PREAMBLE.unpack_from(header)
    if magic != _MAGIC:
        raise CorruptionError(f"{name} is no file of a snapshot: it does not begin like one")
    if version > FORMAT_VERSION:
        raise FolderError(
            f"{name} has item file format version {version}, this mini_flink reads up to {FORMAT_VERSION}",
            help="start it with the newer mini_flink that wrote it",
        )
    if header != _header():
        raise CorruptionError(f"{name} has a damaged header")


def _footer(items: int) -> bytes:
    payload = _FOOTER.pack(items, _END_MAGIC)
    return _BLOCK.pack(0, _checksum(0, payload)) + payload


def _checksum(length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length)))

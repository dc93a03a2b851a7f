"""The format of a commit log's segment file: its header, its records, and how to tell a good record.

Pure functions over bytes; log.py does the reading and writing.

A file is a header block of 4,096 bytes and then records, each aligned to 8 bytes. A file is used again and
again, so it is full of old records: every use draws a new random ``magic``, which starts each record and is
part of its checksum. Space that was never used is zero, which is no record.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from mini_flink.errors import CorruptionError, FolderError

FORMAT_VERSION = 1
HEADER_BYTES = 4096
ALIGNMENT = 8

_FILE_MAGIC = b"mflnklog"
_PREAMBLE = struct.Struct("<8sI")  # file magic, format version: these stay where they are in every version
_HEADER = struct.Struct("<8sIIQQ8sQ?")
_CHECKSUM = struct.Struct("<I")
_RECORD_PREFIX = struct.Struct("<8sQI")  # segment magic, number, payload bytes
_RECORD = struct.Struct("<8sQII")  # ... and the checksum of the three and the payload

RECORD_OVERHEAD = _RECORD.size


class Header(NamedTuple):
    """What a segment says about itself.

    ``sequence`` rises with every segment made. A ``base`` segment supersedes all that were made before it:
    it begins with the record after number ``after``.
    """

    sequence: int
    magic: bytes
    generation: int
    size_bytes: int
    base: bool = False
    after: int = 0

    def encode(self) -> bytes:
        body = _HEADER.pack(
            _FILE_MAGIC,
            FORMAT_VERSION,
            self.generation,
            self.sequence,
            self.size_bytes,
            self.magic,
            self.after,
            self.base,
        )
        return (body + _CHECKSUM.pack(zlib.crc32(body))).ljust(HEADER_BYTES, b"\0")


def decode_header(block: bytes, name: str) -> Header:
    """The header in a file's first block; refuses what is damaged, and by name what a newer version wrote."""
    if len(block) < HEADER_BYTES or not block.startswith(_FILE_MAGIC):
        raise CorruptionError(f"{name} is not a segment of a commit log: its header is damaged")
    _, version = _PREAMBLE.unpack_from(block)
    if version > FORMAT_VERSION:
        raise FolderError(
            f"{name} has log format version {version}, this mini_flink reads up to {FORMAT_VERSION}",
            help="start it with the newer mini_flink that wrote it",
        )
    body = block[: _HEADER.size]
    if block[_HEADER.size :] != _CHECKSUM.pack(zlib.crc32(body)).ljust(HEADER_BYTES - _HEADER.size, b"\0"):
        raise CorruptionError(f"{name} has a damaged header")
    _, _, generation, sequence, size_bytes, magic, after, base = _HEADER.unpack(body)
    return Header(sequence, magic, generation, size_bytes, base, after)


def record_header(magic: bytes, number: int, payload: bytes) -> bytes:
    """The bytes that go before ``payload``."""
    prefix = _RECORD_PREFIX.pack(magic, number, len(payload))
    return prefix + _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(prefix)))


def record_bytes(payload_bytes: int) -> int:
    """Space that a record with so large a payload takes."""
    return -(-(RECORD_OVERHEAD + payload_bytes) // ALIGNMENT) * ALIGNMENT


def first_number(data: bytes, magic: bytes) -> int | None:
    """The number of the first record, not yet verified; None if there is none."""
    if len(data) < HEADER_BYTES + RECORD_OVERHEAD or not data.startswith(magic, HEADER_BYTES):
        return None
    number: int = _RECORD.unpack_from(data, HEADER_BYTES)[1]
    return number


def read_records(data: bytes, magic: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """The good records from the start of a segment's bytes; ``CorruptionError`` if one stands behind a bad
    one.
    """
    offset, last = HEADER_BYTES, None
    while (record := _record_at(data, offset, magic)) is not None:
        number, payload = record
        if last is not None and number != last + 1:
            raise CorruptionError(f"{name}, offset {offset}: record {number} stands where {last + 1} is due")
        yield number, payload
        last = number
        offset += record_bytes(len(payload))
    behind = _find_record(data, offset + ALIGNMENT, magic)
    if behind is not None:
        raise CorruptionError(
            f"{name}, offset {offset}: the record is damaged, and a good one follows at offset {behind}",
            help="restore the folder from a copy; nothing was changed in it",
        )


def _record_at(data: bytes, offset: int, magic: bytes) -> tuple[int, bytes] | None:
    if offset + RECORD_OVERHEAD > len(data) or not data.startswith(magic, offset):
        return None
    _, number, length, checksum = _RECORD.unpack_from(data, offset)
    start = offset + RECORD_OVERHEAD
    payload = data[start : start + length]
    prefix = data[offset : offset + _RECORD_PREFIX.size]
    good = 0 < length == len(payload) and zlib.crc32(payload, zlib.crc32(prefix)) == checksum
    return (number, payload) if good else None


def _find_record(data: bytes, start: int, magic: bytes) -> int | None:
    offset = data.find(magic, start)
    while offset >= 0:
        if offset % ALIGNMENT == 0 and _record_at(data, offset, magic) is not None:
            return offset
        offset = data.find(magic, offset + 1)
    return None

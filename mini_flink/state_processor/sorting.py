"""Puts any number of items into ascending order of their keys, in bounded memory.

What does not fit into ``run_bytes`` goes, run by run and each in order, into one temporary file, and the runs
are merged as they are read back. The file has no name and is gone with its ``Sorter``. Called by ``writer``.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import IO, NamedTuple, Self

from mini_flink import wire
from mini_flink.errors import MiniFlinkError, StorageError, StorageFullError
from mini_flink.state.files import says_full

RUN_BYTES = 64 << 20
"""About the memory that items take before they are written out."""
BLOCK_BYTES = 64 << 10
"""What is read back of each run at a time."""
_ITEM_OVERHEAD = 128  # the two objects of an item and its place in a dict

Item = tuple[bytes, bytes | None]
"""A key and its value; None stands for a key that is only to be given once and is kept nowhere."""

_key_of = itemgetter(0)


class DuplicateKeyError(MiniFlinkError):
    """A key was given twice; whoever knows what it is a key of says so in an error of its own."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"key {key!r} was given twice")
        self.key = key


class _Block(NamedTuple):
    """Where some items of a run are in the file."""

    offset: int
    size: int


class Sorter:
    """Takes items in any order with ``fill``; then ``items`` gives them by ascending key.

    >>> with Sorter() as sorter:
    ...     sorter.fill([(b"b", b"2"), (b"a", b"1")])
    ...     list(sorter.items())
    [(b'a', b'1'), (b'b', b'2')]
    """

    def __init__(self, run_bytes: int = RUN_BYTES) -> None:
        self._run_bytes = run_bytes
        self._room = run_bytes
        self._run: dict[bytes, bytes | None] = {}
        self._runs: list[list[_Block]] = []
        # It becomes a file with the first write; close() closes it.
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=1)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fill(self, items: Iterable[Item]) -> None:
        """Takes in all of ``items``; DuplicateKeyError, now or from ``items``, for a key that comes again."""
        run, room = self._run, self._room
        for key, value in items:
            if key in run:
                raise DuplicateKeyError(key)
            run[key] = value
            room -= len(key) + len(value or b"") + _ITEM_OVERHEAD
            if room < 0:
                self._spill()
                run, room = self._run, self._run_bytes
        self._room = room

    def items(self) -> Iterator[Item]:
        """All items by ascending key; to be asked for once, when all is filled in."""
        if not self._runs:
            run = self._run
            return ((key, run[key]) for key in sorted(run))
        self._spill()
        return _merged([self._read(run) for run in self._runs])

    def close(self) -> None:
        """Lets the temporary file go."""
        self._file.close()

    def _spill(self) -> None:
        run, self._run = self._run, {}
        with _named():
            self._runs.append(list(_write(self._file, run)))

    def _read(self, run: Sequence[_Block]) -> Iterator[list[Item]]:
        for block in run:
            with _named():
                self._file.seek(block.offset)
                packed = wire.unpack(self._file.read(block.size))
            yield list(zip(packed[::2], packed[1::2], strict=True))


def _write(file: IO[bytes], run: dict[bytes, bytes | None]) -> Iterator[_Block]:
    block: list[bytes | None] = []
    room = BLOCK_BYTES
    for key in sorted(run):
        value = run[key]
        block += (key, value)
        room -= len(key) + len(value or b"")
        if room < 0:
            yield _write_block(file, block)
            block, room = [], BLOCK_BYTES
    if block:
        yield _write_block(file, block)


def _write_block(file: IO[bytes], block: list[bytes | None]) -> _Block:
    packed = wire.pack(block)
    written = _Block(file.tell(), len(packed))
    file.write(packed)
    return written


def _merged(runs: Sequence[Iterator[list[Item]]]) -> Iterator[Item]:
    """The items of all runs in order. Each time, what no block that is still to come can precede is sorted.

    That uses up a block at least, and sorting runs that are in order is merging them in C.
    """
    heads = {run: block for run in runs if (block := next(run, None))}
    while heads:
        bound = min(block[-1][0] for block in heads.values())
        ready: list[Item] = []
        for run, block in list(heads.items()):
            end = bisect_right(block, bound, key=_key_of)
            ready += block[:end]
            following = block[end:] or next(run, [])
            if following:
                heads[run] = following
            else:
                del heads[run]
        ready.sort(key=_key_of)
        _check_unique(ready)
        yield from ready


def _check_unique(items: Sequence[Item]) -> None:
    if len(dict(items)) < len(items):
        seen: set[bytes] = set()
        for key, _ in items:
            if key in seen:
                raise DuplicateKeyError(key)
            seen.add(key)


@contextmanager
def _named() -> Iterator[None]:
    """An error of the temporary file says where it is."""
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        if says_full(error.errno):
            raise StorageFullError(
                f"no space left for temporary files in {folder}",
                help="free some space, or set TMPDIR to a folder that has some",
            ) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(f"cannot use a temporary file in {folder}: {reason}") from error

"""Rebuilds from a trace what a folder may look like after a kill or a power cut at any moment.

After a kill everything written is there. After a power cut there is what was synced; of everything else
each sector of 512 bytes is there or not at random (and may hold any of the contents it was given since the
sync), so is each name that was made, changed or removed in a folder not synced since, and each growth of a
file.

    events = images.load(trace)
    cut = images.random_image(trace, source, seed, out)       # at a random event; or upto=...
    promised = images.marks(events[:cut])

A process that is killed, started again and hit by a power cut is two runs: see ``Run``. ``source`` is the
folder before the first of them; what it holds counts as synced.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.powercut.recorder import MARK

SECTOR_BYTES = 512

_HEADER = struct.Struct("<IIQQQ")
_RANGE = struct.Struct("<QQ")
_LENGTH = struct.Struct("<Q")


class Kind(IntEnum):
    """As in recorder.c."""

    WRITE = 1
    ZEROS = 2
    TRUNCATE = 3
    SYNC_BEGIN = 4
    SYNC_END = 5
    CREATE = 6
    MKDIR = 7
    RENAME = 8
    UNLINK = 9
    MARK = 10
    SEND = 11
    UNSUPPORTED = 12
    OPEN = 13


class Event(NamedTuple):
    kind: Kind
    process: int
    inode: int
    offset: int
    data: bytes


class Run(NamedTuple):
    """The first ``upto`` events of a process; all of them if that is None."""

    events: Sequence[Event]
    upto: int | None = None

    def taken(self) -> Sequence[Event]:
        return self.events if self.upto is None else self.events[: self.upto]


def load(trace: Path) -> list[Event]:
    """The events of a trace, a torn last one left out (its process was killed)."""
    return list(_parse(trace.read_bytes()))


def _parse(content: bytes) -> Iterator[Event]:
    position = 0
    while position + _HEADER.size <= len(content):
        kind, process, inode, offset, length = _HEADER.unpack_from(content, position)
        position += _HEADER.size + length
        if position <= len(content):
            yield Event(Kind(kind), process, inode, offset, content[position - length : position])


def marks(events: Sequence[Event]) -> list[bytes]:
    """What was written to the mark file, in order."""
    return [event.data for event in events if event.kind is Kind.MARK]


def sent(events: Sequence[Event]) -> bytes:
    """What went out on all sockets, in order."""
    return b"".join(event.data for event in events if event.kind is Kind.SEND)


def random_image(
    trace: Path | Sequence[Run], source: Path | None, seed: int, out: Path, upto: int | None = None
) -> int:
    """Makes ``out`` what a power cut leaves, and returns how many events of the (last) run it came after.

    With several runs all but the last end in a kill where their own ``upto`` says.
    """
    rng = Random(seed)
    runs = [Run(load(trace))] if isinstance(trace, Path) else list(trace)
    last = runs.pop()
    if upto is None:
        upto = rng.randint(0, len(last.taken()))
    disk = _disk_after([*runs, Run(last.events, upto)], source)
    _write_out(disk.root.cut(rng, rng.choice(_CHANCES)), out)
    return upto


def killed_image(runs: Sequence[Run], source: Path | None, out: Path) -> None:
    """Makes ``out`` what the last run's process leaves when it is killed: all that it wrote."""
    _write_out(_disk_after(runs, source).root.whole(), out)


def _disk_after(runs: Sequence[Run], source: Path | None) -> Disk:
    disk = Disk(source)
    for run in runs:
        disk.begin_run()
        for event in run.taken():
            disk.apply(event)
    return disk


# --- the model of a disk ------------------------------------------------------------------------------------

_CHANCES = (0.0, 0.1, 0.5, 0.5, 0.9, 1.0)
"""How likely a sector or name that was not synced is there, one drawn for each image."""


class _Change(NamedTuple):
    """A write, or (without data) a truncation to ``offset``."""

    sequence: int
    offset: int
    data: bytes | None


@dataclass
class File:
    """Content that is synced, and the changes since."""

    durable: bytearray = field(default_factory=bytearray)
    changes: list[_Change] = field(default_factory=list)

    def sync(self, before: int) -> None:
        for change in self.changes:
            if change.sequence < before:
                _apply(self.durable, change)
        self.changes = [change for change in self.changes if change.sequence >= before]

    def sync_range(self, before: int, start: int, end: int) -> None:
        """Only the sectors that the range touches, as with O_DSYNC."""
        start, end = start // SECTOR_BYTES * SECTOR_BYTES, -(-end // SECTOR_BYTES) * SECTOR_BYTES
        kept = []
        for change in self.changes:
            if change.data is None or change.sequence >= before:
                kept.append(change)
                continue
            for piece in _split(change, start, end):
                if start <= piece.offset < end:
                    _apply(self.durable, piece)
                else:
                    kept.append(piece)
        self.changes = kept

    def whole(self) -> bytes:
        content = bytearray(self.durable)
        for change in self.changes:
            _apply(content, change)
        return bytes(content)

    def cut(self, rng: Random, chance: float) -> bytes:
        content = bytearray(self.durable)
        pieces: dict[int, list[_Change]] = {}
        for change in self.changes:
            if change.data is not None:
                for piece in _sectors(change):
                    pieces.setdefault(piece.offset // SECTOR_BYTES, []).append(piece)
            elif rng.random() < chance:
                _apply(content, change)
        for versions in pieces.values():
            count = len(versions) if rng.random() < chance else rng.randrange(len(versions))
            for piece in versions[:count]:
                _apply(content, piece)
        grown = len(content) > len(self.durable)
        return bytes(content[: len(self.durable)] if grown and rng.random() > chance else content)


def _apply(content: bytearray, change: _Change) -> None:
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _split(change: _Change, *boundaries: int) -> Iterator[_Change]:
    assert change.data is not None
    end = change.offset + len(change.data)
    edges = [change.offset, *sorted(edge for edge in boundaries if change.offset < edge < end), end]
    for start, stop in pairwise(edges):
        data = change.data[start - change.offset : stop - change.offset]
        yield _Change(change.sequence, start, data)


def _sectors(change: _Change) -> Iterator[_Change]:
    assert change.data is not None
    first = change.offset // SECTOR_BYTES * SECTOR_BYTES
    return _split(change, *range(first, change.offset + len(change.data), SECTOR_BYTES))


class _Renaming(NamedTuple):
    """A change of a folder: ``name`` now leads to ``node`` (or nowhere), ``old`` no longer does."""

    sequence: int
    name: str
    node: Node | None
    old: str | None = None


@dataclass
class Folder:
    """Names that are synced, names as they are, and the changes between the two."""

    durable: dict[str, Node] = field(default_factory=dict)
    entries: dict[str, Node] = field(default_factory=dict)
    changes: list[_Renaming] = field(default_factory=list)

    def change(self, renaming: _Renaming) -> None:
        self.changes.append(renaming)
        _rename(self.entries, renaming)

    def sync(self, before: int) -> None:
        for renaming in self.changes:
            if renaming.sequence < before:
                _rename(self.durable, renaming)
        self.changes = [renaming for renaming in self.changes if renaming.sequence >= before]

    def whole(self) -> Tree:
        return {name: node.whole() for name, node in self.entries.items()}

    def cut(self, rng: Random, chance: float) -> Tree:
        names = dict(self.durable)
        for renaming in self.changes:
            if rng.random() < chance:
                _rename(names, renaming)
        return {name: node.cut(rng, chance) for name, node in names.items()}


Node = File | Folder
Tree = dict[str, "bytes | Tree"]


def _rename(names: dict[str, Node], renaming: _Renaming) -> None:
    if renaming.old is not None:
        names.pop(renaming.old, None)
    if renaming.node is None:
        names.pop(renaming.name, None)
    else:
        names[renaming.name] = renaming.node


class Disk:
    """Files and folders below one folder, changed event by event."""

    def __init__(self, source: Path | None) -> None:
        self.root = _read_in(source) if source is not None and source.exists() else Folder()
        self._nodes: dict[int, Node] = {}
        self._syncs: dict[tuple[int, int], int] = {}
        self._ranges: dict[tuple[int, int], tuple[int, int]] = {}
        self._sequence = 0

    def begin_run(self) -> None:
        """Another process, in a copy of the folder: with other inodes."""
        self._nodes.clear()
        self._syncs.clear()

    def apply(self, event: Event) -> None:
        self._sequence += 1
        match event.kind:
            case Kind.WRITE:
                self._change(event.inode, event.offset, event.data)
            case Kind.ZEROS:
                self._change(event.inode, event.offset, bytes(_LENGTH.unpack(event.data)[0]))
            case Kind.TRUNCATE:
                self._change(event.inode, event.offset, None)
            case Kind.SYNC_BEGIN:
                self._begin_sync(event)
            case Kind.SYNC_END:
                self._end_sync(event)
            case Kind.UNSUPPORTED:
                raise ValueError(f"the trace holds {event.data.decode()}")
            case Kind.CREATE | Kind.MKDIR | Kind.RENAME | Kind.UNLINK | Kind.OPEN:
                self._change_names(event)
            case Kind.MARK | Kind.SEND:
                pass

    def _change(self, inode: int, offset: int, data: bytes | None) -> None:
        node = self._nodes[inode]
        assert isinstance(node, File)
        node.changes.append(_Change(self._sequence, offset, data))

    def _begin_sync(self, event: Event) -> None:
        token = (event.process, event.offset)
        self._syncs[token] = self._sequence
        if event.data:
            start, length = _RANGE.unpack(event.data)
            self._ranges[token] = (start, start + length)

    def _end_sync(self, event: Event) -> None:
        token = (event.process, event.offset)
        before, node = self._syncs.pop(token), self._nodes[event.inode]
        limits = self._ranges.pop(token, None)
        if limits is not None and isinstance(node, File):
            node.sync_range(before, *limits)
        else:
            node.sync(before)

    def _change_names(self, event: Event) -> None:
        path, _, target = event.data.decode().partition("\0")
        folder, name = self._locate(path)
        if event.kind is Kind.OPEN:
            self._nodes[event.inode] = folder.entries[name] if name else folder
        elif event.kind is Kind.RENAME:
            self._rename(folder, name, target)
        elif event.kind is Kind.UNLINK:
            folder.change(_Renaming(self._sequence, name, None))
        else:
            node = Folder() if event.kind is Kind.MKDIR else File()
            self._nodes[event.inode] = node
            folder.change(_Renaming(self._sequence, name, node))

    def _rename(self, folder: Folder, name: str, target: str) -> None:
        node = folder.entries[name]
        other, new_name = self._locate(target)
        if other is folder:
            folder.change(_Renaming(self._sequence, new_name, node, old=name))
        else:
            other.change(_Renaming(self._sequence, new_name, node))
            folder.change(_Renaming(self._sequence, name, None))

    def _locate(self, path: str) -> tuple[Folder, str]:
        *parents, name = [part for part in path.split("/") if part not in ("", ".")] or [""]
        folder = self.root
        for parent in parents:
            below = folder.entries[parent]
            assert isinstance(below, Folder)
            folder = below
        return folder, name


def _read_in(source: Path) -> Folder:
    entries: dict[str, Node] = {}
    for path in source.iterdir():
        if path.is_dir():
            entries[path.name] = _read_in(path)
        elif path.is_file() and path.name != MARK:
            entries[path.name] = File(bytearray(path.read_bytes()))
    return Folder(dict(entries), entries)


def _write_out(tree: Tree, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, content in tree.items():
        if isinstance(content, bytes):
            (out / name).write_bytes(content)
            (out / name).chmod(0o600)
        else:
            _write_out(content, out / name)

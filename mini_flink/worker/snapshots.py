"""This worker's parts of snapshots: copied out of a view of its table, beside the loop, into the store.

Two things come in, in either order: the supervisor's order (which snapshot, where to) and the capture (the
table as of the end of the old epoch). When both are there a thread copies, in slices short enough that the
loop never waits for it. What has changed since the last complete snapshot is enough if that is known, else
all of it is copied. Owned by the worker's loop; only ``_Copy`` runs in the thread, on what is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import chain, islice
from typing import Any, NamedTuple

from mini_flink.core.changes import ChangedKeys
from mini_flink.errors import told_of
from mini_flink.faults import crash_point
from mini_flink.ids import worker_name
from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.item_file import ItemWriter
from mini_flink.snapshots.location import open_store
from mini_flink.snapshots.manifest import FileEntry, FileKind
from mini_flink.state import layout
from mini_flink.state.base import TableView
from mini_flink.state.sorting import sorted_slices
from mini_flink.worker.background import Background
from mini_flink.worker.host import Capture

SLICE_ITEMS = 512
"""Items copied at a time: half a millisecond, after which the copy may wait long for its turn."""
REST = 20.0
"""How long the copy rests after each slice, in the processor time that it took: a twentieth of a core."""
_COPY = "snapshot"

_Item = tuple[bytes, bytes | None]


class Order(NamedTuple):
    """What the supervisor wants: the snapshot ``id`` of ``epoch`` in the store at ``location``.

    ``base`` is the epoch whose complete snapshot an incremental one may build on; 0: copy everything.
    """

    epoch: int
    id: str
    location: str
    base: int


class Cancelled(Exception):
    """Nobody wants this copy any more."""


class WorkerSnapshots:
    """The parts of one worker; ``tell`` sends an outcome (epoch, part or reason) to the supervisor."""

    def __init__(
        self,
        worker: int,
        directory: str,
        changed: ChangedKeys,
        background: Background,
        tell: Callable[[int, dict[str, Any]], None],
    ) -> None:
        self._worker = worker
        self._directory = directory
        self._changed = changed
        self._background = background
        self._tell = tell
        self._order: Order | None = None
        self._capture: Capture | None = None
        self._copy: _Copy | None = None

    def order(self, order: Order) -> None:
        """The supervisor wants a snapshot; a newer one replaces an unfinished one."""
        if self._order is None or order.epoch > self._order.epoch:
            self._order = order
            self._begin()

    def captured(self, capture: Capture) -> None:
        """The view of an epoch is there; a newer one replaces an older one."""
        if self._capture is not None:
            self._capture.view.close()
        self._capture = capture
        self._begin()

    def end(self, epoch: int, *, complete: bool) -> None:
        """An epoch is complete, or came to nothing: its view is needed no more."""
        if complete:
            self._changed.forget_before(epoch)
        if self._copy is not None and self._copy.order.epoch <= epoch:
            self._copy.cancelled = True
        if self._capture is not None and self._capture.epoch <= epoch:
            self._capture.view.close()
            self._capture = None

    def _begin(self) -> None:
        order, capture = self._order, self._capture
        if self._copy is not None:
            newest = max(order.epoch if order else 0, capture.epoch if capture else 0)
            self._copy.cancelled = self._copy.cancelled or newest > self._copy.order.epoch
            return
        if order is None or capture is None or order.epoch != capture.epoch:
            return
        self._capture = None
        keys = self._changed.since(order.base, order.epoch) if order.base else None
        self._copy = _Copy(self._worker, order, capture, keys, self._directory)
        self._background.submit(_COPY, self._copy.run)

    def turn(self) -> None:
        """Tell what became of a copy, and begin the next."""
        for outcome in self._background.outcomes():
            copy, self._copy = self._copy, None
            if copy is None:
                continue
            copy.capture.view.close()
            if outcome.error is None:
                crash_point("before_report")
                self._tell(copy.order.epoch, copy.part())
            elif not isinstance(outcome.error, Cancelled):
                # Also one that no store should raise: the snapshot fails, the worker goes on.
                self._tell(copy.order.epoch, told_of(outcome.error))
            self._begin()

    def close(self) -> None:
        """Give up what is being copied; nothing reads the table when this returns."""
        if self._copy is not None:
            self._copy.cancelled = True
        self._background.join()
        for capture in (self._capture, self._copy.capture if self._copy else None):
            if capture is not None:
                capture.view.close()
        self._capture = self._copy = None


class _Copy:
    """One part on its way into the store; ``run`` is called by the thread."""

    def __init__(
        self, worker: int, order: Order, capture: Capture, keys: set[bytes] | None, directory: str
    ) -> None:
        self.order = order
        self.capture = capture
        self.cancelled = False
        self._worker = worker
        self._keys = keys
        self._directory = directory
        self._files: list[FileEntry] = []
        self._states: list[bytes] = []

    def part(self) -> dict[str, Any]:
        """What is told of a finished copy."""
        return {
            "commit_number": self.capture.commit_number,
            "files": [asdict(file) for file in self._files],
            "states": self._states,
        }

    def run(self) -> None:
        """Copy the state, or what has changed of it, and the channels."""
        store = open_store(self.order.location, directory=self._directory)
        try:
            Catalog(store).check_alone(self.order.id, worker_name(self._worker))
            view = self.capture.view
            self._states = [packed for _, packed in view.scan(layout.REGISTRY)]
            if self._keys is None:
                self._write(store, "base", "state", _state(view))
            else:
                self._write(store, "delta", "state", _changes(view, self._keys))
            crash_point("mid_snapshot")
            self._write(store, "channels", "channels", _channels(view))
        finally:
            store.close()

    def _write(self, store: SnapshotStore, kind: FileKind, name: str, items: Iterable[_Item]) -> None:
        path = f"{self.order.id}/{worker_name(self._worker)}.{name}"
        writer = ItemWriter(store.write(path), kind)
        try:
            self._fill(writer, iter(items))
            self._files.append(writer.finish())
        finally:
            writer.abort()

    def _fill(self, writer: ItemWriter, items: Iterator[_Item]) -> None:
        while not self.cancelled:
            began = time.thread_time()
            some = list(islice(items, SLICE_ITEMS))
            if not some:
                return
            writer.add_all(some)
            time.sleep((time.thread_time() - began) * REST)
        raise Cancelled


def _state(view: TableView) -> Iterator[_Item]:
    """Everything but the channels, by ascending key."""
    meta = ((key, value) for key, value in view.scan(layout.META) if not layout.is_of_channels(key))
    return chain(view.scan(layout.DEAD_LETTER), meta, view.scan(layout.STATE))


def _changes(view: TableView, keys: set[bytes]) -> Iterator[_Item]:
    """The changed keys with what they hold, None for what is gone, by ascending key."""
    slices = sorted_slices((key, None) for key in keys)
    return ((key, view.get(key)) for part in slices for key, _ in part)


def _channels(view: TableView) -> Iterator[_Item]:
    """Positions and outboxes: always whole, they change with every record."""
    meta = ((key, value) for key, value in view.scan(layout.META) if layout.is_of_channels(key))
    return chain(meta, view.scan(layout.OUTBOX))

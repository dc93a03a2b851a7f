"""The worker folders of a generation: the last word of an old one, and the making of a new one.

``settle`` brings all that a worker has committed into its table, so that the table alone says it;
``GenerationBuilder`` fills the tables of new workers, which find no log and begin with commit 1. What goes
into them is ``core/reshard.py``'s to say. Neither runs user code or knows which generation counts: until the
caller has said so durably, a new folder is nobody's, and it removes one that a crash left half made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from mini_flink import wire
from mini_flink.config import Settings
from mini_flink.core.base import Identity
from mini_flink.core.engine import Engine
from mini_flink.errors import RecordError, StorageFullError, storage_error
from mini_flink.ids import gateway_name, worker_name
from mini_flink.locks import FolderLock
from mini_flink.runners.twins import NoProgressPage
from mini_flink.state.files import FULL_HELP, sync_folder
from mini_flink.state.lmdb import LmdbLoader, LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.state.overlay import Overlay
from mini_flink.transport.memory import MemoryNetwork, MemoryTransport
from mini_flink.worker.background import InlineBackground
from mini_flink.worker.host import Host
from mini_flink.worker.worker import limits_of

LOG, STATE, LOCK = "log", "state", "lock"
"""What lies in a worker's folder."""


class GenerationBuilder:
    """New tables, one per worker, in ``folder``, where no worker has a folder yet.

    Everything is there, durable, when ``finish`` returns. After any error: ``close``, remove the folder.
    """

    def __init__(self, folder: Path, generation: int, workers: int, map_size_bytes: int) -> None:
        self._folder = folder
        self._loaders: list[LmdbLoader] = []
        with ExitStack() as stack:
            stack.callback(self.close)
            _make(folder, exist_ok=True)
            for worker in range(workers):
                place = folder / worker_name(worker)
                _make(place)
                loader = LmdbLoader(place / STATE, map_size_bytes=map_size_bytes, generation=generation)
                self._loaders.append(loader)
            stack.pop_all()

    def put(self, worker: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Add items to a worker's table; fastest by ascending key."""
        self._loaders[worker].put(items)

    def apply(self, worker: int, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put and (where the value is None) delete."""
        self._loaders[worker].apply(changes)

    def sync(self) -> None:
        """Make durable what is there so far: ``finish``, for which others may wait, then has less to do."""
        for loader in self._loaders:
            loader.sync()

    def finish(self) -> None:
        """Everything is in: the tables become tables, durably."""
        for loader in self._loaders:
            loader.finish()
        for folder in (self._folder, self._folder.parent):
            sync_folder(folder)

    def close(self) -> None:
        """Let go of the files."""
        for loader in self._loaders:
            loader.close()


def _make(folder: Path, *, exist_ok: bool = False) -> None:
    try:
        folder.mkdir(0o700, exist_ok=exist_ok)
    except OSError as error:
        raise storage_error(os.fspath(folder), error) from error


class _NobodyFails:
    """No record is run, hence none is buried."""

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> NoReturn:  # noqa: ARG002
        raise RuntimeError("a record was run while a folder was settled")


def settle(folder: Path, name: str, generation: int, workers: int, gateways: int, settings: Settings) -> int:
    """Redo into the table what only the log of a dead worker has; how many commits that were.

    May be repeated, also after StorageFullError. Whoever still works in the folder is killed first.
    """
    with ExitStack() as stack:
        stack.callback(FolderLock.evict(os.fspath(folder / LOCK)).release)
        host, engine = _open(stack, folder, name, generation, workers, gateways, settings)
        return _redo(host, engine, folder)


def recovered(
    stack: ExitStack, folder: Path, name: str, generation: int, workers: int, settings: Settings
) -> Overlay:
    """What a dead worker's folder holds, table and log, for reading as long as ``stack`` is open.

    What only the log has is redone in memory: nothing in the folder changes, and nobody is kept out of it.
    """
    host, engine = _open(stack, folder, name, generation, workers, 0, settings, read_only=True)
    host.recover()
    return engine.overlay


def _open(
    stack: ExitStack,
    folder: Path,
    name: str,
    generation: int,
    workers: int,
    gateways: int,
    settings: Settings,
    *,
    read_only: bool = False,
) -> tuple[Host, Engine]:
    table = LmdbTable(folder / STATE, map_size_bytes=settings.state_map_bytes, generation=generation)
    stack.callback(table.close)
    log = FileLog(
        folder / LOG,
        segment_bytes=settings.log_segment_bytes,
        durable=settings.durability == "disk",
        generation=generation,
        read_only=read_only,
    )
    stack.callback(log.close)
    engine = Engine(
        Identity(name, 0, generation),
        [worker_name(index) for index in range(workers)],
        [gateway_name(slot) for slot in range(gateways)],
        table,
        limits=limits_of(settings),
        progress=NoProgressPage(),
        undertaker=_NobodyFails(),
        clock=time.monotonic,
    )
    host = Host(
        engine,
        log,
        table,
        MemoryTransport(MemoryNetwork()),
        InlineBackground(),
        salvage=settings.accept_inconsistent_state,
    )
    return host, engine


def _redo(host: Host, engine: Engine, folder: Path) -> int:
    host.recover()
    redone = host.secure()
    if redone:
        host.carry_out([engine.freeze()])
    if not host.close():
        raise StorageFullError(f"no space left for the table in {folder}", help=FULL_HELP)
    return redone

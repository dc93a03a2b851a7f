"""Reads the dead letters of a data folder on which no server runs: only the tables are opened.

A worker writes a dead letter to its table at once (see ``core/engine``), so at most the last moment before a
crash is missing here; it is there again once the server has been started.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mini_flink import wire
from mini_flink.errors import FolderError
from mini_flink.folder import read_job, worker_folder
from mini_flink.ids import worker_name
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable
from mini_flink.worker.letters import VALUE_LIMIT, shown

MAP_BYTES = 64 << 30


def read(data_dir: str, limit: int = VALUE_LIMIT) -> list[dict[str, Any]]:
    """The dead letters of all workers, oldest first, as plain data for people and programs.

    FolderError if ``data_dir`` holds no job.
    """
    record = read_job(data_dir)
    if record is None:
        raise FolderError(
            f"{data_dir} holds no job", help="name the folder that serve was given as --data-dir"
        )
    letters: list[dict[str, Any]] = []
    for worker in range(record["workers"]):
        folder = Path(worker_folder(data_dir, record["generation"], worker_name(worker))) / "state"
        if (folder / "data.mdb").exists():
            letters += _of_worker(worker, folder, record["generation"], limit)
    return sorted(letters, key=lambda letter: letter["failed_at"])


def _of_worker(worker: int, folder: Path, generation: int, limit: int) -> Iterator[dict[str, Any]]:
    table = LmdbTable(folder, map_size_bytes=MAP_BYTES, generation=generation)
    try:
        for _, packed in table.scan(layout.DEAD_LETTER):
            yield shown(worker, wire.unpack(packed), limit)
    finally:
        table.close()

"""Reads the dead letters of a data folder from its tables, whether a server runs on it or not.

A worker writes a dead letter to its table at once (see ``core/engine``), so at most the last moment before a
crash is missing here; it is there again once the server has been started. Workers are not asked: who looks
through many of them holds nobody up.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from mini_flink import wire
from mini_flink.errors import FolderError
from mini_flink.folder import near_folder, read_job, worker_folder
from mini_flink.ids import worker_name
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable
from mini_flink.worker.letters import VALUE_LIMIT, shown

MAP_BYTES = 64 << 30


def read(data_dir: str, limit: int = VALUE_LIMIT) -> list[dict[str, Any]]:
    """The dead letters of all workers, oldest first, as plain data for people and programs.

    FolderError if ``data_dir`` holds no job.
    """
    letters = [
        shown(worker, letter, limit) for worker, table in tables(data_dir) for letter in of_table(table)
    ]
    return sorted(letters, key=lambda letter: letter["failed_at"])


def tables(data_dir: str) -> Generator[tuple[int, LmdbTable], None, None]:
    """The table of each worker, one after another; each is closed when the next one is asked for.

    FolderError if ``data_dir`` holds no job. One process may have a table open once.
    """
    record = read_job(data_dir)
    if record is None:
        raise FolderError(
            f"{data_dir} holds no job",
            help=near_folder(data_dir) or "name the folder that serve was given as --data-dir",
        )
    generation = record["generation"]
    for worker in range(record["workers"]):
        folder = Path(worker_folder(data_dir, generation, worker_name(worker))) / "state"
        if (folder / "data.mdb").exists():
            with closing(LmdbTable(folder, map_size_bytes=MAP_BYTES, generation=generation)) as table:
                yield worker, table


def of_table(table: LmdbTable) -> Iterator[dict[str, Any]]:
    """Its dead letters as they are stored."""
    for _, packed in table.scan(layout.DEAD_LETTER):
        yield wire.unpack(packed)


def find(table: LmdbTable, error_id: str) -> dict[str, Any] | None:
    """One of its dead letters."""
    packed = table.get(layout.DEAD_LETTER + error_id.encode())
    return None if packed is None else dict(wire.unpack(packed))

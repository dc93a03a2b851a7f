"""Reads the dead letters of a data folder, also while a server runs on it: only the tables are opened.

A worker writes a dead letter to its table at once (see ``core/engine``), so at most the last moment before a
crash is missing here; it is there again once the server has been started.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mini_flink import keys, values, wire
from mini_flink.errors import DecodeError, FolderError
from mini_flink.folder import read_job, worker_folder
from mini_flink.ids import worker_name
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable

MAP_BYTES = 64 << 30
VALUE_LIMIT = 200


def read(data_dir: str) -> list[dict[str, Any]]:
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
            letters += _of_worker(worker, folder, record["generation"])
    return sorted(letters, key=lambda letter: letter["failed_at"])


def _of_worker(worker: int, folder: Path, generation: int) -> Iterator[dict[str, Any]]:
    table = LmdbTable(folder, map_size_bytes=MAP_BYTES, generation=generation)
    try:
        for _, packed in table.scan(layout.DEAD_LETTER):
            yield _shown(worker, wire.unpack(packed))
    finally:
        table.close()


def _shown(worker: int, letter: dict[str, Any]) -> dict[str, Any]:
    error = letter["error"]
    return {
        "failed_at": datetime.fromtimestamp(letter["failed_ms"] / 1000, UTC).isoformat(
            timespec="milliseconds"
        ),
        "error_id": letter["error_id"],
        "operator": letter["operator"],
        "key": _text(keys.decode_key, letter["key"]),
        "value": _text(values.decode, letter["value"]),
        "error": f"{error['type']}: {error['message']}",
        "frames": error.get("frames", []),
        "request_id": letter["request_id"],
        "worker": worker,
    }


def _text(decode: Any, data: bytes | None) -> str:
    """A key or value to read; classes of the job are not known here: such a value is shown in hexadecimal."""
    if data is None:
        return ""
    try:
        text = repr(decode(data))
    except DecodeError:
        text = data.hex()
    return text if len(text) <= VALUE_LIMIT else f"{text[: VALUE_LIMIT - 1]}…"

"""What a worker leaves to whoever moves its state: the keys that changed after the copy had begun.

One small file per worker in the folder of the next generation, worth something only until that is complete.
Written by the worker when it has stopped, read by the resharder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mini_flink import wire
from mini_flink.errors import StorageError
from mini_flink.ids import worker_name


def write_tail(folder: Path, worker: int, keys: Iterable[bytes] | None) -> None:
    """Leave ``keys``; None says that they are not known, and everything is to be read again."""
    try:
        _path(folder, worker).write_bytes(wire.pack(None if keys is None else list(keys)))
    except OSError as error:
        raise StorageError(f"{_path(folder, worker)} cannot be written: {error.strerror}") from error


def read_tail(folder: Path, worker: int) -> list[bytes] | None:
    """What ``write_tail`` left; None: everything."""
    keys: list[bytes] | None = wire.unpack(_path(folder, worker).read_bytes())
    return keys


def remove_tails(folder: Path, workers: int) -> None:
    """They have served."""
    for worker in range(workers):
        _path(folder, worker).unlink(missing_ok=True)


def _path(folder: Path, worker: int) -> Path:
    return folder / f"{worker_name(worker)}.tail"

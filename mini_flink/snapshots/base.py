"""The contract of a snapshot store: files under relative paths, each there as a whole or not at all.

``files.FileStore``, ``remote.RemoteStore`` and ``memory.MemoryStore`` keep it; tests/snapshots runs one suite
on all three. A store knows nothing of what is in its files.

Errors: ``SnapshotMissingError`` for a file that is not there, ``StorageFullError`` where space lacks, another
``StorageError`` for everything else. A failed call leaves nothing under the path that it was about.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from mini_flink.errors import CorruptionError


class FileReader(Protocol):
    """A file, read from its beginning."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, fewer only at the end; without a size all that is left."""
        ...

    def close(self) -> None:
        """Releases the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class FileWriter(Protocol):
    """A file that is being written. One thread uses it; every writer ends with ``commit`` or ``abort``."""

    @property
    def path(self) -> str:
        """Where the file will be."""
        ...

    def write(self, data: bytes, /) -> None:
        """Adds bytes at the end."""
        ...

    def commit(self) -> None:
        """Makes the file visible under its path; when this returns, it survives a power cut."""
        ...

    def abort(self) -> None:
        """Drops what was written. Does nothing once the file is committed or dropped."""
        ...


class SnapshotStore(Protocol):
    """Files at one location. Several processes may use one at a time, each writing paths of its own."""

    @property
    def location(self) -> str:
        """As shown to people: without user names, passwords and tokens."""
        ...

    def exists(self) -> bool:
        """Whether the place is there, also without a file."""
        ...

    def write(self, path: str) -> FileWriter:
        """Begins a file; nothing is visible under ``path`` before its commit, which replaces what was."""
        ...

    def read(self, path: str) -> FileReader:
        """Opens a file."""
        ...

    def unfinished(self) -> list[str]:
        """Leftovers of writers that died, as far as the store can see them; ``remove`` takes these paths."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """The paths of all files below the folder ``prefix``, sorted; none if there is no such folder."""
        ...

    def size(self, path: str) -> int:
        """The bytes of a file."""
        ...

    def remove(self, path: str) -> None:
        """Removes a file; one that is not there is fine."""
        ...

    def close(self) -> None:
        """Releases the store."""
        ...


def check_path(path: str) -> str:
    """``path`` if it leads to a place below a store's location; CorruptionError if not.

    Paths stand in manifests, which may come from anywhere.
    """
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in path or "\\" in path:
        raise CorruptionError(f"{path!r} is no path of a file in a snapshot")
    return path

"""The in-memory twin of a snapshot store, for tests and the simulation.

The object is the place: whoever holds it sees the same files, and they outlive each process that wrote them.
Faults are data: ``fail_next("write", "full")``.
"""

from __future__ import annotations

import io
from typing import Literal

from mini_flink.errors import SnapshotMissingError, StorageError, StorageFullError
from mini_flink.snapshots.base import FileReader, FileWriter, check_path
from mini_flink.state.memory import ProcessKilled

Operation = Literal["write", "commit", "read", "remove"]
Fault = Literal["full", "error", "kill"]

_UNFINISHED = ".unfinished"


class MemoryStore:
    """A ``SnapshotStore`` that is this object; ``contents`` are its committed files, to look at or damage.

    >>> store = MemoryStore("twin")
    >>> store.fail_next("commit", "full")
    >>> writer = store.write("a/b")
    >>> writer.write(b"some")
    >>> writer.commit()
    Traceback (most recent call last):
    mini_flink.errors.StorageFullError: no space left for a/b, as planned
    >>> store.list()
    []
    """

    def __init__(self, name: str = "snapshots") -> None:
        self.location = f"memory:{name}"
        self.contents: dict[str, bytes] = {}
        self.drafts: dict[str, bytearray] = {}
        self._faults: dict[Operation, list[Fault]] = {}

    def fail_next(self, operation: Operation, fault: Fault, times: int = 1) -> None:
        """The next ``times`` calls fail: for want of space, for good, or because the process dies.

        Who is killed in ``commit`` has committed; in ``write``, a leftover stays.
        """
        self._faults.setdefault(operation, []).extend([fault] * times)

    def fault(self, operation: Operation, path: str) -> bool:
        """Carries out the fault planned for this call; True asks the caller to do it and be killed."""
        planned = self._faults.get(operation)
        fault = planned.pop(0) if planned else None
        if fault == "full":
            raise StorageFullError(f"no space left for {path}, as planned")
        if fault == "error":
            raise StorageError(f"{operation} of {path} failed, as planned")
        return fault == "kill"

    def exists(self) -> bool:
        return True

    def write(self, path: str) -> FileWriter:
        return _Writer(self, check_path(path))

    def read(self, path: str) -> FileReader:
        if self.fault("read", path):
            raise ProcessKilled("read")
        return io.BytesIO(self._content(path))

    def unfinished(self) -> list[str]:
        return sorted(f"{path}{_UNFINISHED}" for path in self.drafts)

    def list(self, prefix: str = "") -> list[str]:
        start = f"{prefix}/" if prefix else ""
        return sorted(path for path in self.contents if path.startswith(start))

    def size(self, path: str) -> int:
        return len(self._content(path))

    def remove(self, path: str) -> None:
        killed = self.fault("remove", path)
        self.contents.pop(path, None)
        self.drafts.pop(path.removesuffix(_UNFINISHED), None)
        if killed:
            raise ProcessKilled("remove")

    def close(self) -> None:
        """Nothing is held."""

    def _content(self, path: str) -> bytes:
        try:
            return self.contents[check_path(path)]
        except KeyError as error:
            raise SnapshotMissingError(f"{self.location}/{path} is missing") from error


class _Writer:
    def __init__(self, store: MemoryStore, path: str) -> None:
        self.path = path
        self._store = store
        self._draft = store.drafts[path] = bytearray()
        self._is_open = True

    def write(self, data: bytes, /) -> None:
        if self._begin("write"):
            raise ProcessKilled("write")
        self._draft += data

    def commit(self) -> None:
        killed = self._begin("commit")
        self._store.contents[self.path] = bytes(self._draft)
        self.abort()
        if killed:
            raise ProcessKilled("commit")

    def abort(self) -> None:
        if self._is_open:
            self._is_open = False
            self._store.drafts.pop(self.path, None)

    def _begin(self, operation: Operation) -> bool:
        if not self._is_open:
            raise RuntimeError(f"{self.path} was committed or dropped already")
        try:
            return self._store.fault(operation, self.path)
        except StorageError:
            self.abort()
            raise

"""A snapshot store in a folder. A file gets its name only once all of it is synced.

Until then it is ``<path>.unfinished``, which no list shows. Folders are for their owner only: state is in
them. Called by whoever ``location.open_store`` gave it to.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mini_flink.errors import SnapshotMissingError, StorageError, StorageFullError
from mini_flink.snapshots.base import FileReader, FileWriter, check_path
from mini_flink.state.files import says_full, sync_folder

_UNFINISHED = ".unfinished"
_SYNC_BYTES = 8 << 20
"""Written before it is synced: at the end little is left, and nobody else's sync waits behind a gigabyte."""


class FileStore:
    """A ``SnapshotStore`` in ``folder``, which is made with the first file.

    >>> import tempfile
    >>> store = FileStore(Path(tempfile.mkdtemp()) / "snapshots")
    >>> writer = store.write("a/b")
    >>> writer.write(b"some")
    >>> store.list()
    []
    >>> writer.commit()
    >>> store.list()
    ['a/b']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(os.path.abspath(folder))

    @property
    def location(self) -> str:
        return str(self._folder)

    def exists(self) -> bool:
        return self._folder.is_dir()

    def write(self, path: str) -> FileWriter:
        return _Writer(path, self._place(path))

    def read(self, path: str) -> FileReader:
        place = self._place(path)
        with _named("read", place):
            return _Reader(place, place.open("rb"))

    def unfinished(self) -> list[str]:
        return sorted(path for path in self._walk("") if path.endswith(_UNFINISHED))

    def list(self, prefix: str = "") -> list[str]:
        return sorted(path for path in self._walk(prefix) if not path.endswith(_UNFINISHED))

    def size(self, path: str) -> int:
        place = self._place(path)
        with _named("read", place):
            return place.stat().st_size

    def remove(self, path: str) -> None:
        place = self._place(path)
        with _named("remove", place):
            place.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other files are in it
                place.parent.rmdir()

    def close(self) -> None:
        """Nothing is held."""

    def _place(self, path: str) -> Path:
        return self._folder / check_path(path)

    def _walk(self, prefix: str) -> Iterator[str]:
        top = self._place(prefix) if prefix else self._folder
        with _named("read", top):
            if not top.exists():
                return
            if not top.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
            for folder, _, names in os.walk(top, onerror=_raise_unless_removed):
                for name in names:
                    yield Path(folder, name).relative_to(self._folder).as_posix()


class _Reader:
    """Says the file's name in an error of reading it."""

    def __init__(self, place: Path, file: BinaryIO) -> None:
        self._place = place
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        with _named("read", self._place):
            return self._file.read(size)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Writer:
    def __init__(self, path: str, place: Path) -> None:
        self.path = path
        self._place = place
        self._draft = place.with_name(place.name + _UNFINISHED)
        with _named("write", place):
            _make(place.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._descriptor: int | None = os.open(self._draft, flags, 0o600)
        self._unsynced = 0

    def write(self, data: bytes, /) -> None:
        descriptor, rest = self._open_descriptor(), memoryview(data)
        with self._undone():
            while rest:  # a write may be short without an error
                rest = rest[os.write(descriptor, rest) :]
            self._unsynced += len(data)
            if self._unsynced >= _SYNC_BYTES:
                self._unsynced = 0
                os.fdatasync(descriptor)

    def commit(self) -> None:
        descriptor = self._open_descriptor()
        with self._undone():
            os.fsync(descriptor)
            self._draft.rename(self._place)
            self._close()
            sync_folder(self._place.parent)

    def abort(self) -> None:
        if self._descriptor is not None:
            self._close()
            self._draft.unlink(missing_ok=True)

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise RuntimeError(f"{self.path} was committed or dropped already")
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    @contextlib.contextmanager
    def _undone(self) -> Iterator[None]:
        """The space of a file that cannot be finished is given back at once."""
        try:
            with _named("write", self._place):
                yield
        except StorageError:
            self.abort()
            raise


@contextlib.contextmanager
def _named(action: str, place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and action == "read":
            raise SnapshotMissingError(f"{place} is missing") from error
        if says_full(error.errno):
            raise StorageFullError(
                f"no space left for {place}", help="free some space, or choose another --snapshot-dir"
            ) from error
        raise StorageError(
            f"cannot {action} {place}: {error.strerror}",
            help="look at the folder: who may write there, and its disk",
        ) from error


def _raise_unless_removed(error: OSError) -> None:
    """Another process may remove an old snapshot meanwhile."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _make(folder: Path) -> None:
    """``folder`` with all above it; their names are durable, also those that a killed process made."""
    if not folder.is_dir():
        if not folder.parent.is_dir():
            _make(folder.parent)
        folder.mkdir(0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # a parent that only lets pass
        sync_folder(folder.parent)

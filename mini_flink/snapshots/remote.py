"""A snapshot store at an fsspec URL (S3, Azure, SFTP …); the only module that knows fsspec.

fsspec is an optional dependency, imported when a store is opened. Credentials and endpoints come from where
fsspec and its file systems look for them: their environment variables and configuration files.

A process that is killed while it writes leaves nothing that is visible; what an object store keeps of an
upload that was never completed, only a lifecycle rule of the bucket removes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from mini_flink.errors import (
    ConfigError,
    MiniFlinkError,
    SnapshotMissingError,
    StorageError,
    StorageFullError,
)
from mini_flink.snapshots.base import FileReader, FileWriter, check_path
from mini_flink.state.files import says_full

_BUFFER_BYTES = 8 << 20
"""What a file holds in memory: S3 takes parts from 5 MiB on, and at most 10,000 of them."""
_USER = re.compile(r"(?<=://)(?:[^/\s]*@|[^/:@\s]*:(?!\d+(?:/|$))[^@\s]*@)")
"""User name and password before a host; also a password with a slash, where no port could be."""
_CREDENTIALS = re.compile(_USER.pattern + r"|\?.*")
_TELLING = 3
"""Shorter parts of a URL hide nothing: they stand in every text."""
_HELP = "check the address, the network and the credentials"


class RemoteStore:
    """A ``SnapshotStore`` at ``url``. ConfigError without fsspec, or without what it needs for this URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.location = without_secrets(self._url)
        self._files, root = self._file_system()
        self._root = str(root).rstrip("/")

    def exists(self) -> bool:
        with self.named("list", ""):
            self._files.invalidate_cache()
            return bool(self._files.exists(self._root))

    def write(self, path: str) -> FileWriter:
        return _Writer(self, path)

    def read(self, path: str) -> FileReader:
        with self.named("read", path):
            file = self._files.open(self._place(path), "rb", block_size=_BUFFER_BYTES)
        return _Reader(self, path, file)

    def unfinished(self) -> list[str]:
        return []

    def list(self, prefix: str = "") -> list[str]:
        with self.named("list", prefix):
            top = self._place(prefix) if prefix else self._root
            self._files.invalidate_cache()  # other processes write here, too
            try:
                found = self._files.find(top)
            except FileNotFoundError:
                return []
        start = len(self._root) + 1
        return sorted(path[start:] for path in found if path.startswith(f"{self._root}/"))

    def size(self, path: str) -> int:
        with self.named("read", path):
            self._files.invalidate_cache()
            return int(self._files.info(self._place(path))["size"])

    def remove(self, path: str) -> None:
        with self.named("remove", path), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._place(path))

    def close(self) -> None:
        """fsspec keeps its connections for whoever opens the same place again."""

    def begin(self, path: str) -> Any:
        """fsspec's file for ``path``, which it shows only at its own ``commit``."""
        with self.named("write", path):
            place = self._place(path)
            try:
                return self._files.open(place, "wb", block_size=_BUFFER_BYTES, autocommit=False)
            except FileNotFoundError:
                self.make_folder(path)
                return self._files.open(place, "wb", block_size=_BUFFER_BYTES, autocommit=False)

    def make_folder(self, path: str) -> None:
        """Makes the folders of a file, in a file system that has real ones."""
        self._make(self._place(path).rpartition("/")[0])

    def _make(self, folder: str) -> None:
        parent = folder.rpartition("/")[0]
        if not parent:  # a bucket: nobody asked for a new one
            return
        try:
            self._files.mkdir(folder, create_parents=False)
        except FileNotFoundError:
            self._make(parent)
            self._files.mkdir(folder, create_parents=False)
        except FileExistsError:
            return

    def _place(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    @contextlib.contextmanager
    def named(self, action: str, path: str) -> Iterator[None]:
        """Turns what fsspec raises into our own errors, which say which file."""
        place = f"{self.location}/{path}".rstrip("/")
        try:
            yield
        except MiniFlinkError:
            raise
        except Exception as error:  # what its file systems raise has no other base
            if isinstance(error, FileNotFoundError) and action == "read":
                raise SnapshotMissingError(f"{place} is missing") from error
            if isinstance(error, OSError) and says_full(error.errno):
                raise StorageFullError(f"no space left for {place}", help="free some space there") from error
            raise StorageError(
                f"cannot {action} {place}: {type(error).__name__}: {self._said(error)}".rstrip(": "),
                help=_HELP,
            ) from error

    def _file_system(self) -> Any:
        """fsspec's file system for the URL, which may connect at once, and the path in it."""
        try:
            import fsspec
        except ImportError as error:
            raise ConfigError(
                f"snapshots at {self.location} need fsspec, which is not installed",
                help="pip install 'mini-flink[remote]', and the package for this kind of URL (s3fs for s3://)",
            ) from error
        with self.named("open", ""):
            try:
                return fsspec.core.url_to_fs(self._url)
            except ImportError as error:
                raise ConfigError(
                    f"snapshots at {self.location}: {self._said(error)}",
                    help="install the package that it names",
                ) from error
            except ValueError as error:
                raise ConfigError(
                    f"{self.location} is no place for snapshots: {self._said(error)}",
                    help="check --snapshot-dir",
                ) from error

    def _said(self, error: Exception) -> str:
        """What fsspec says, which knows the secrets in the URL."""
        said = str(error).replace(self._url, self.location)
        for secret in _secrets(self._url):
            said = said.replace(secret, "***")
        return _USER.sub("", said)


class _Reader:
    def __init__(self, store: RemoteStore, path: str, file: Any) -> None:
        self._store = store
        self._path = path
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        with self._store.named("read", self._path):
            return bytes(self._file.read(size))

    def close(self) -> None:
        with self._store.named("read", self._path):
            self._file.close()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Writer:
    def __init__(self, store: RemoteStore, path: str) -> None:
        self.path = path
        self._store = store
        self._file = store.begin(path)

    def write(self, data: bytes, /) -> None:
        file = self._open_file()
        with self._undone():
            file.write(data)

    def commit(self) -> None:
        file = self._open_file()
        with self._undone():
            file.close()
            try:
                file.commit()
            except FileNotFoundError:
                self._store.make_folder(self.path)
                file.commit()
            self._file = None

    def abort(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            for step in (
                file.close,
                file.discard,
            ):  # one that stays open would upload its rest when collected
                with contextlib.suppress(StorageError), self._store.named("drop", self.path):
                    step()

    def _open_file(self) -> Any:
        if self._file is None:
            raise RuntimeError(f"{self.path} was committed or dropped already")
        return self._file

    @contextlib.contextmanager
    def _undone(self) -> Iterator[None]:
        try:
            with self._store.named("write", self.path):
                yield
        except StorageError:
            self.abort()
            raise


def without_secrets(url: str) -> str:
    """A URL as it may be shown and logged: without user, password and query.

    >>> without_secrets("s3://key:secret@bucket/totals?token=x")
    's3://bucket/totals'
    """
    return _CREDENTIALS.sub("", url)


def _secrets(url: str) -> list[str]:
    """What ``without_secrets`` leaves out, and its parts, as they are and decoded; the longest first."""
    found: set[str] = set()
    for hidden in _CREDENTIALS.findall(url):
        if hidden.startswith("?"):
            parts = [pair.partition("=")[2] for pair in hidden[1:].split("&")]
        else:
            parts = [hidden[:-1], hidden[:-1].partition(":")[2]]
        found.update([hidden, *parts, *map(unquote, parts)])
    return sorted((part for part in found if len(part) >= _TELLING), key=len, reverse=True)

"""The files that a job was loaded from, looked at now and then: has anybody saved one?

Asks the system for the state of a known, short list of files twenty times a second, which costs a
hundredth of a millisecond a file, needs no thread and no descriptor, and works on every file system. Never
loads anything. Called by ``reloader``, and by ``runners.dev`` while there is no server yet.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from mini_flink.core.reloads import ReloadPolicy
from mini_flink.pinned import PinnedSources

POLL_MS = 50
SETTLED_NS = 2_000_000_000
"""How old a change must be for the file's times to tell it from the next one."""


class _Seen(NamedTuple):
    state: tuple[int, ...]
    digest: str


class SourcesWatch:
    """Tells when the job that was loaded from ``sources`` is to be loaded anew; see ``ReloadPolicy``.

    Of a job that has not loaded, ``loaded`` false, files and folders that appear beside its own count too:
    it may be a module that is missing.
    """

    def __init__(self, sources: PinnedSources, *, loaded: bool) -> None:
        self._seen: dict[str, _Seen] = {}
        self._due_ms = 0
        self._files: tuple[str, ...] = ()
        self._policy = ReloadPolicy({})
        self.ended(sources, loaded=loaded)

    @property
    def files(self) -> list[str]:
        """What is watched."""
        return sorted(self._files)

    def due_ms(self) -> int:
        """When ``step`` is to be called next."""
        return self._due_ms

    def step(self, now_ms: int) -> list[str]:
        """The places whose change makes it due to load the job now; ``ended`` is to follow."""
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + POLL_MS
        return self._policy.look(self._look(), now_ms)

    def overtaken(self, now_ms: int) -> list[str]:
        """While the job is being loaded: the places that have changed since that began."""
        self.step(now_ms)
        return self._policy.overtaken

    def reads(self, sources: PinnedSources) -> None:
        """The job that is being loaded has come to these files: they count already."""
        texts = {file: _digest(text) for file, text in sources.texts().items()}
        self._files = tuple({*self._files, *texts})
        self._policy.reads(texts)

    def ended(self, sources: PinnedSources | None, *, loaded: bool) -> None:
        """The job was loaded, or could not be, from ``sources``; None if it is not known what was read."""
        if sources is None:
            self._policy.ended()
            return
        tried = {file: _digest(text) for file, text in sources.texts().items()}
        self._files = tuple(tried)
        self._folders = {os.path.dirname(os.path.abspath(file)) for file in tried}
        for folder in self._folders if not loaded else ():
            # As it was before the job looked for its modules, if that is known.
            tried[folder] = self._policy.noticed(folder) or self._seen_now(folder, is_folder=True) or ""
        self._policy.ended(tried)

    def _look(self) -> dict[str, str]:
        found = {file: self._seen_now(file) for file in self._files}
        found |= {folder: self._seen_now(folder, is_folder=True) for folder in self._folders}
        return {place: digest for place, digest in found.items() if digest is not None}

    def _seen_now(self, place: str, *, is_folder: bool = False) -> str | None:
        """What stands there, read anew only if it may have changed; None if there is nothing to be read."""
        try:
            about = os.stat(place)
            state = (about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino)
            seen = self._seen.get(place)
            if seen is not None and seen.state == state:
                return seen.digest
            digest = _digest("\n".join(_names(place)).encode() if is_folder else _read(place))
        except OSError:
            return None
        if abs(time.time_ns() - about.st_ctime_ns) > SETTLED_NS:
            self._seen[place] = _Seen(state, digest)
        return digest


def _read(file: str) -> bytes:
    with open(file, "rb") as source:
        return source.read()


def _names(folder: str) -> Iterable[str]:
    """The modules and packages that may be in a folder."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name.endswith(".py") or (entry.name.isidentifier() and entry.is_dir())
        ]
    return sorted(name for name in names if name != "__pycache__")


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()

"""Which snapshots a store holds, which of them are whole, and which may go.

A snapshot is one only with its manifest, which is written last; it is whole if every file that the manifest
names is there as it was written, which only reading all of them tells. Whoever goes on from a snapshot asks
``latest`` or ``check_whole`` for it, so there is one rule. Snapshots share files, so a file goes only when no
manifest that is kept needs it. Several data folders may keep theirs in one store.

Called by the supervisor (writes manifests, removes what is old), by restores and by the commands.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mini_flink.errors import (
    CorruptionError,
    FolderError,
    SnapshotError,
    SnapshotMissingError,
)
from mini_flink.events import Say
from mini_flink.snapshots import manifest as manifests
from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.item_file import check_file, check_size
from mini_flink.snapshots.location import FOLDER_NAME, is_url, open_store, shown
from mini_flink.snapshots.manifest import FileEntry, Manifest
from mini_flink.suggest import did_you_mean

LATEST = "latest"
_NAMES = "say latest, an id that `snapshot list` shows, or a folder or URL with snapshots"
_LONG_BYTES = 256 << 20
"""Reading so much takes a while, which is said."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A snapshot whose manifest cannot be read, and why: damaged, foreign, or of a newer version."""

    id: str
    reason: str


def _warn(level: str, text: str, /, **_fields: Any) -> None:
    """In a program that uses us as a library only warnings are of interest."""
    if level == "warn":
        warnings.warn(text, stacklevel=2)


class Catalog:
    """The snapshots in ``store``. Holds nothing: every call asks the store.

    ``tell`` hears what is passed over, and of what takes long.
    """

    def __init__(self, store: SnapshotStore, tell: Say = _warn) -> None:
        self.store = store
        self._tell = tell

    def entries(self) -> list[Manifest | Damaged]:
        """All that have a manifest, oldest first; those that cannot be read before the others."""
        return self._read(self.store.list())

    def unfinished(self) -> list[str]:
        """The ids that have files and neither a manifest nor a snapshot that needs these files."""
        paths = self.store.list()
        entries = self._read(paths)
        needed = _needed(entries)
        known = {entry.id for entry in entries}
        left = {_id_in(path) for path in [*paths, *self.store.unfinished()] if path not in needed}
        return sorted(id for id in left - known if manifests.parse_id(id))

    def newest(self, wanted: Callable[[Manifest], bool]) -> Iterator[tuple[Manifest | Damaged, list[str]]]:
        """From the newest wanted one down to the first that is whole; each with what is wrong with it.

        What cannot be read comes before all that may be older.
        """
        entries = self.entries()
        damaged = [one for one in entries if isinstance(one, Damaged) and manifests.parse_id(one.id)]
        for entry in reversed(entries):
            if isinstance(entry, Damaged) or not wanted(entry):
                continue
            older = [one for one in damaged if _is_older(one.id, entry.id)]
            yield from ((one, [one.reason]) for one in damaged if one not in older)
            damaged = older
            problems = self.verify(entry)
            yield entry, problems
            if not problems:
                return
        yield from ((one, [one.reason]) for one in damaged)

    def latest_of(self, wanted: Callable[[Manifest], bool]) -> Manifest | None:
        """The newest wanted one that is whole; says which are passed over for it."""
        for entry, problems in self.newest(wanted):
            if isinstance(entry, Manifest) and not problems:
                return entry
            title = f"snapshot {entry.id}" if isinstance(entry, Damaged) else entry.title
            self._tell(
                "warn", f"the {title} is damaged and passed over: {problems[0]}", name="snapshot.damaged"
            )
        return None

    def latest(self, job: str | None = None) -> Manifest:
        """The newest that is whole (of ``job``); SnapshotError if there is none."""
        found = self.latest_of(lambda entry: job in (None, entry.job))
        if found is None:
            raise self.none_whole(job)
        return found

    def none_whole(self, job: str | None = None) -> SnapshotError:
        """That there is no latest (of ``job``)."""
        of_job = "" if job is None else f" of job {job!r}"
        return SnapshotError(
            f"there is no whole snapshot{of_job} in {self.store.location}",
            help=f"python -m mini_flink snapshot verify {self.store.location} says what is there",
        )

    def get(self, id: str) -> Manifest:
        """The manifest of one snapshot; SnapshotError if there is none with this id.

        CorruptionError or FolderError if its manifest cannot be used.
        """
        path = manifests.manifest_path(id)
        place = f"{self.store.location}/{path}"
        try:
            with self.store.read(path) as file:
                data = file.read()
        except SnapshotMissingError as error:
            raise self._unknown(id) from error
        try:
            found = manifests.decode_manifest(data, place)
        except CorruptionError as error:
            raise CorruptionError(error.message, help=self._another()) from error
        if found.id != id:
            raise CorruptionError(f"{place} is the manifest of snapshot {found.id}, not of {id}")
        return found

    def missing(self, manifest: Manifest) -> list[str]:
        """Each file that is not there or has another size; cheap, and no more than that."""
        return _problems(lambda entry: check_size(self.store, entry), manifest)

    def verify(self, manifest: Manifest, read: Callable[[int], None] = lambda _: None) -> list[str]:
        """Reads everything; what is wrong, file by file. Empty for a snapshot that can be restored.

        ``read`` hears of each piece of so many bytes.
        """
        if manifest.total_bytes >= _LONG_BYTES:
            size_mib = manifest.total_bytes >> 20
            self._tell(
                "info", f"the {manifest.title} is being verified: {size_mib:,} MiB", name="snapshot.verifying"
            )
        return _problems(lambda entry: check_file(self.store, entry, read), manifest)

    def check_whole(self, manifest: Manifest, *, contents: bool = True) -> None:
        """CorruptionError that says what is wrong with a snapshot that somebody has named.

        Without ``contents`` for who checks these as he reads them.
        """
        problems = self.verify(manifest) if contents else self.missing(manifest)
        if problems:
            raise CorruptionError(f"the {manifest.title} is not whole: {problems[0]}", help=self._another())

    def check_alone(self, id: str, worker: str = "") -> None:
        """SnapshotError if a copy of the data folder writes here, too: each would remove the other's files.

        No epoch is given out twice. So before snapshot ``id`` is written there is neither a later one of the
        same data folder, nor this one, nor a file of ``worker`` for it.
        """
        own = manifests.parse_id(id)
        for path in self.store.list():
            found = manifests.parse_id(_id_in(path))
            if own is None or found is None or found[0] != own[0] or found[1] < own[1]:
                continue
            if _is_manifest(path) or (worker and path.startswith(f"{id}/{worker}.")):
                raise SnapshotError(
                    f"another copy of this data folder writes to {self.store.location}: {path} is there "
                    "already; give one of them another --snapshot-dir",
                )

    def write_manifest(self, manifest: Manifest) -> None:
        """The moment from which a snapshot is one: all its files are there."""
        writer = self.store.write(manifests.manifest_path(manifest.id))
        try:
            writer.write(manifests.encode_manifest(manifest))
            writer.commit()
        except BaseException:
            writer.abort()
            raise

    def retain(self, number: int, max_age_s: int, now_ms: int, *, newest: Manifest) -> list[str]:
        """Removes what is older than ``newest``, which its data folder has just written: snapshots of the
        folder, and files of it that nothing needs; the ids removed.

        Kept are the newest ``number`` that are not older than ``max_age_s`` (0 = any age), always the newest
        whole one, and all savepoints. What was never finished goes once a newer snapshot is there.
        """
        entries, folder_id = self.entries(), newest.folder_id
        readable = [entry for entry in entries if isinstance(entry, Manifest)]
        ours = [one for one in readable if one.folder_id == folder_id and one.epoch <= newest.epoch]
        periodic = [entry for entry in reversed(ours) if entry.kind == "snapshot"]
        whole = next((entry for entry in periodic if not self.missing(entry)), None)
        oldest_ms = now_ms - max_age_s * 1000 if max_age_s else 0
        kept = [entry for entry in periodic[:number] if entry.created_ms >= oldest_ms]
        removed = [entry for entry in periodic if entry not in kept and entry is not whole]
        for entry in removed:
            self.store.remove(manifests.manifest_path(entry.id))
        self._sweep(folder_id, newest.epoch, [entry for entry in entries if entry not in removed])
        return [entry.id for entry in reversed(removed)]

    def _sweep(self, folder_id: int, newest_epoch: int, kept: list[Manifest | Damaged]) -> None:
        """Removes files that no snapshot needs; what one needs that cannot be read is not known: it stays."""
        needed = _needed(kept)
        unknown = [manifests.parse_id(entry.id) for entry in kept if isinstance(entry, Damaged)]
        first = max((id[1] + 1 for id in unknown if id and id[0] == folder_id), default=0)
        for path in [*self.store.list(), *self.store.unfinished()]:
            id = manifests.parse_id(_id_in(path))
            if id and id[0] == folder_id and first <= id[1] < newest_epoch and path not in needed:
                self.store.remove(path)

    def _read(self, paths: list[str]) -> list[Manifest | Damaged]:
        found: list[Manifest] = []
        damaged: list[Manifest | Damaged] = []
        for path in paths:
            if not _is_manifest(path):
                continue
            id = _id_in(path)
            try:
                found.append(self.get(id))
            except (CorruptionError, FolderError) as error:
                damaged.append(Damaged(id, error.message))
            except SnapshotError:  # another process has removed it since it was listed
                continue
        return [*damaged, *_oldest_first(found)]

    def _another(self) -> str:
        return f"use another one: python -m mini_flink snapshot verify {self.store.location}"

    def _unknown(self, id: str) -> SnapshotError:
        if self.store.list(id):
            return SnapshotError(
                f"snapshot {id} in {self.store.location} was never finished: it has no manifest",
                help=self._another(),
            )
        known = [entry.id for entry in self.entries()]
        return SnapshotError(
            f"there is no snapshot {id} in {self.store.location}",
            help=did_you_mean(id, known, otherwise="python -m mini_flink snapshot list says what there is"),
        )


def find(
    text: str, directory: str, default_location: str, tell: Say = _warn
) -> tuple[SnapshotStore, Manifest]:
    """The whole snapshot that ``text`` names: ``latest``, an id, or a path or URL as in ``locate``.

    SnapshotError if there is none, CorruptionError if it is not whole.
    """
    catalog, id = locate(text, directory, default_location, tell)
    if id is None:
        return catalog.store, catalog.latest()
    found = catalog.get(id)
    catalog.check_whole(found)
    return catalog.store, found


def is_in_default_location(text: str) -> bool:
    """Whether ``text`` is ``latest`` or an id, and no path or URL."""
    return text == LATEST or manifests.parse_id(text) is not None


def locate(text: str, directory: str, default_location: str, tell: Say = _warn) -> tuple[Catalog, str | None]:
    """Where to look for what ``text`` names, and its id; None for the latest there.

    ``latest`` and ids are looked for in ``default_location``; a path or URL is that of a snapshot or of a
    folder that holds some. Relative ones are below ``directory``. SnapshotError if it is none of these.
    """
    if not text:
        raise SnapshotError("'' names no snapshot", help=_NAMES)
    if is_in_default_location(text):
        store = open_store(default_location, directory=directory)
        return Catalog(store, tell), None if text == LATEST else text
    place = text.removesuffix(f"/{manifests.NAME}").rstrip("/")
    if not is_url(place):
        place = os.path.abspath(os.path.join(directory, place))
    parent, _, name = place.rpartition("/")
    catalog = Catalog(open_store(place), tell)
    paths = catalog.store.list()
    if manifests.NAME in paths or (paths and manifests.parse_id(name)):
        return Catalog(open_store(parent), tell), name
    if any(_is_manifest(path) for path in paths):
        return catalog, None
    raise SnapshotError(
        f"{shown(text)} is neither a snapshot nor a folder that holds some",
        help=did_you_mean(text, [LATEST], otherwise=_nearby(shown(place), paths)),
    )


def _is_manifest(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name == manifests.NAME and bool(folder) and "/" not in folder


def _id_in(path: str) -> str:
    return path.partition("/")[0]


def _is_older(id: str, than: str) -> bool:
    """Whether it is surely older: of the same data folder, with a lower epoch."""
    one, other = manifests.parse_id(id), manifests.parse_id(than)
    return one is not None and other is not None and one[0] == other[0] and one[1] < other[1]


def _nearby(place: str, paths: list[str]) -> str:
    if any(path.startswith(f"{FOLDER_NAME}/") for path in paths):
        return f"did you mean {place}/{FOLDER_NAME}?"
    return _NAMES


def _oldest_first(found: list[Manifest]) -> Iterator[Manifest]:
    """By time; within one data folder by epoch, whatever its clock did."""
    timed: list[tuple[int, int, int, Manifest]] = []
    ordered = sorted(found, key=lambda one: (one.folder_id, one.epoch))
    for folder_id, group in groupby(ordered, key=lambda one: one.folder_id):
        latest_ms = 0
        for one in group:
            latest_ms = max(latest_ms, one.created_ms)
            timed.append((latest_ms, folder_id, one.epoch, one))
    return (one for *_, one in sorted(timed, key=lambda row: row[:3]))


def _problems(check: Callable[[FileEntry], None], manifest: Manifest) -> list[str]:
    problems = []
    for _, entry in sorted(manifest.files.items()):
        try:
            check(entry)
        except (CorruptionError, FolderError, SnapshotMissingError) as error:
            problems.append(error.message)
    return problems


def _needed(entries: Iterable[Manifest | Damaged]) -> set[str]:
    """The paths of all files of readable snapshots, their manifests included."""
    needed: set[str] = set()
    for entry in entries:
        needed.add(manifests.manifest_path(entry.id))
        if isinstance(entry, Manifest):
            needed |= entry.files.keys()
    return needed

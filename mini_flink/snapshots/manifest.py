"""What a snapshot says of itself: its manifest, written last, so that a snapshot with one is complete.

    <id>/manifest.json   JSON, with the SHA-256 of all its other members in canonical form
    <id>/w0.state        what worker 0 wrote for this one: a base, or the changes since the one before
    <id>/w0.channels     its undelivered records and positions

A part's chain begins with a base; its older files lie in the folders of older snapshots. Pure functions over
bytes; catalog.py does the reading and writing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mini_flink.errors import CorruptionError, FolderError
from mini_flink.snapshots.base import check_path

FORMAT_VERSION = 1
NAME = "manifest.json"

FileKind = Literal["base", "delta", "channels"]
SnapshotKind = Literal["snapshot", "savepoint"]

_ID = re.compile(r"([0-9a-f]{8})-(\d{6,19})")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One item file: where it is, and what must be in it."""

    path: str
    kind: FileKind
    size_bytes: int
    items: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """One worker's share: its state's chain, oldest first, then its channels."""

    worker: int
    commit_number: int
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A complete snapshot. ``new_bytes`` were written for it; ``total_bytes`` are all that it refers to.

    ``fingerprint`` is the job's, ``operators`` numbers each uid, ``parallelisms`` holds what a rescale set,
    ``incarnations`` how often each process was started, ``states`` rows of operator, name, kind and type.
    """

    id: str
    kind: SnapshotKind
    job: str
    folder_id: int
    epoch: int
    generation: int
    created_ms: int
    duration_ms: int
    program_version: str
    workers: int
    max_parallelism: int
    operators: Mapping[str, int]
    next_operator: int
    parallelisms: Mapping[str, int]
    incarnations: Mapping[str, int]
    fingerprint: list[Any]
    states: list[list[Any]]
    parts: tuple[Part, ...]
    new_bytes: int
    total_bytes: int
    format: int = FORMAT_VERSION

    @property
    def title(self) -> str:
        """As it is named in messages: ``savepoint 00c0ffee-000012``."""
        return f"{self.kind} {self.id}"

    @property
    def files(self) -> dict[str, FileEntry]:
        """All files that it refers to, by path."""
        return {entry.path: entry for part in self.parts for entry in part.files}


def snapshot_id(folder_id: int, epoch: int) -> str:
    """The id of a data folder's snapshot of an epoch.

    >>> snapshot_id(0xC0FFEE, 12)
    '00c0ffee-000012'
    """
    return f"{folder_id:08x}-{epoch:06d}"


def parse_id(text: str) -> tuple[int, int] | None:
    """Folder id and epoch of a snapshot's id; None if ``text`` is none."""
    found = _ID.fullmatch(text)
    if found is None:
        return None
    folder_id, epoch = int(found[1], 16), int(found[2])
    return (folder_id, epoch) if snapshot_id(folder_id, epoch) == text else None


def manifest_path(id: str) -> str:
    """Where a snapshot's manifest is in its store."""
    return f"{id}/{NAME}"


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of manifest.json."""
    content = asdict(manifest)
    return json.dumps({**content, "sha256": _digest(content)}, indent=1).encode()


def decode_manifest(data: bytes, place: str) -> Manifest:
    """The manifest in ``data``; ``place`` is how errors name the file.

    CorruptionError if it is damaged or none of ours, FolderError if a newer version wrote it.
    """
    content = _object(data, place)
    if content["format"] > FORMAT_VERSION:
        raise FolderError(
            f"{place} has format {content['format']}, this mini_flink reads up to {FORMAT_VERSION}",
            help="start it with the newer mini_flink that wrote it",
        )
    digest = content.pop("sha256", None)
    if digest != _digest(content):
        raise CorruptionError(f"{place} is damaged: its SHA-256 differs")
    try:
        parts = tuple(_part(part) for part in content.pop("parts"))
        return Manifest(parts=parts, **content)
    except (KeyError, TypeError, CorruptionError) as error:
        raise CorruptionError(f"{place} is no manifest of a snapshot: {error}") from error


def _part(content: dict[str, Any]) -> Part:
    files = tuple(FileEntry(**entry) for entry in content["files"])
    for entry in files:
        check_path(entry.path)
        if entry.kind not in get_args(FileKind):
            raise CorruptionError(f"{entry.path} is of no known kind: {entry.kind!r}")
    return Part(content["worker"], content["commit_number"], files)


def _object(data: bytes, place: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise CorruptionError(f"{place} is damaged: {error}") from error
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise CorruptionError(f"{place} is no manifest of a snapshot: it names no format version")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

"""Places for snapshots, and snapshots to put there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.item_file import Item, write_items
from mini_flink.snapshots.manifest import FileEntry, Manifest, Part, snapshot_id

FOLDER_ID = 0xC0FFEE
MINUTE_MS = 60_000


def put(store: SnapshotStore, path: str, data: bytes) -> None:
    """A file as it is given, also in the place of one that was right."""
    writer = store.write(path)
    writer.write(data)
    writer.commit()


def content(store: SnapshotStore, path: str) -> bytes:
    with store.read(path) as file:
        return file.read()


def manifest(epoch: int, parts: Iterable[Part] = (), **changes: Any) -> Manifest:
    folder_id = changes.get("folder_id", FOLDER_ID)
    parts = tuple(parts)
    fields: dict[str, Any] = {
        "id": snapshot_id(folder_id, epoch),
        "kind": "snapshot",
        "job": "shop",
        "folder_id": folder_id,
        "epoch": epoch,
        "generation": 1,
        "created_ms": epoch * MINUTE_MS,
        "duration_ms": 250,
        "program_version": "0.2.0",
        "workers": max(1, len(parts)),
        "max_parallelism": 128,
        "operators": {"source": 1, "total": 2},
        "next_operator": 3,
        "parallelisms": {"total": 2},
        "incarnations": {"w0": 1, "g0": 1},
        "fingerprint": [["source", "source"], ["map", "total"]],
        "states": [[2, "sum", "value", "int"]],
        "parts": parts,
        "new_bytes": sum(entry.size_bytes for part in parts for entry in part.files),
        "total_bytes": sum(entry.size_bytes for part in parts for entry in part.files),
    }
    return Manifest(**{**fields, **changes})


def take(
    store: SnapshotStore,
    epoch: int,
    *,
    after: Manifest | None = None,
    items: Mapping[bytes, bytes | None] | None = None,
    **changes: Any,
) -> Manifest:
    """A snapshot of one worker: a base, or (``after``) a delta on the chain of an older one."""
    id = snapshot_id(changes.get("folder_id", FOLDER_ID), epoch)
    chain: list[FileEntry] = []
    if after is not None:
        chain = [entry for entry in after.parts[0].files if entry.kind != "channels"]
    changed: Iterable[Item] = sorted((items or {b"Skey": b"%d" % epoch}).items())
    chain.append(write_items(store, f"{id}/w0.state", "delta" if chain else "base", changed))
    chain.append(write_items(store, f"{id}/w0.channels", "channels", [(b"Ow1:1", b"%d" % epoch)]))
    made = manifest(epoch, [Part(0, epoch * 10, tuple(chain))], **changes)
    Catalog(store).write_manifest(made)
    return made

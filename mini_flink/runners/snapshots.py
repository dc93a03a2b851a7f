"""What there is to say about snapshots: those at a location, one of them, and whether they are as written.

Only reads, also while a server runs. Called by the commands ``snapshot list``, ``show`` and ``verify``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from mini_flink import console
from mini_flink.errors import SnapshotError
from mini_flink.snapshots.catalog import LATEST, Catalog, Damaged, locate
from mini_flink.snapshots.location import open_store
from mini_flink.snapshots.manifest import Manifest

PRESENT, WHOLE, DAMAGED, UNFINISHED = "present", "whole", "damaged", "unfinished"
"""Present: every file is there with its size; whole: everything was read and is as it was written."""
WITHOUT_MANIFEST = "it has no manifest: it is being written or removed, or was left so"


def list_all(location: str, *, may_be_new: bool = False) -> dict[str, Any]:
    """The snapshots at ``location``, oldest first, as plain data; sizes are looked at, contents are not.

    SnapshotError if there is no such place, but for one that the first snapshot makes (``may_be_new``).
    """
    catalog = Catalog(open_store(location, directory=os.getcwd()))
    if not (may_be_new or catalog.store.exists()):
        raise SnapshotError(
            f"{catalog.store.location} does not exist or is no folder",
            help="name a folder or URL that holds snapshots",
        )
    rows = [_listed(catalog, entry) for entry in catalog.entries()]
    rows += [_state(id, UNFINISHED, [WITHOUT_MANIFEST]) for id in catalog.unfinished()]
    return {"location": catalog.store.location, "snapshots": rows}


def describe(text: str, location: str) -> dict[str, Any]:
    """One snapshot with its states and files; ``text`` as in ``catalog.locate``."""
    catalog, id = locate(text, os.getcwd(), location, console.event)
    # The latest was read to know that it is the latest whole one.
    manifest = catalog.latest() if id is None else catalog.get(id)
    state = _state(manifest.id, WHOLE, []) if id is None else {}
    return {
        **_listed(catalog, manifest),
        **state,
        "location": catalog.store.location,
        "program_version": manifest.program_version,
        "folder_id": f"{manifest.folder_id:08x}",
        "max_parallelism": manifest.max_parallelism,
        "operators": [
            {"uid": uid, "number": number, "rescaled_to": manifest.parallelisms.get(uid)}
            for uid, number in manifest.operators.items()
        ],
        "states": list(_states(manifest)),
        "files": list(_files(manifest)),
    }


def verify(
    text: str | None, location: str, heard: Callable[[int, int], None] = lambda *_: None
) -> dict[str, Any]:
    """Reads all of one snapshot, or of all that are there if ``text`` is None or a folder of snapshots.

    ``heard`` is told how many bytes have been read, and of how many.
    """
    catalog, id = Catalog(open_store(location, directory=os.getcwd()), console.event), None
    if text is not None:
        catalog, id = locate(text, os.getcwd(), location, console.event)
    if text == LATEST:
        rows = [_judged(entry, problems) for entry, problems in catalog.newest(lambda _: True)]
        if not rows:
            raise catalog.none_whole()
        return {"location": catalog.store.location, "snapshots": rows}
    entries = catalog.entries() if id is None else [catalog.get(id)]
    read = _counter(sum(entry.total_bytes for entry in entries if isinstance(entry, Manifest)), heard)
    rows = [_verified(catalog, entry, read) for entry in entries]
    if id is None:
        rows += [_state(id, UNFINISHED, [WITHOUT_MANIFEST]) for id in catalog.unfinished()]
    return {"location": catalog.store.location, "snapshots": rows}


def _counter(total: int, heard: Callable[[int, int], None]) -> Callable[[int], None]:
    done = 0

    def read(size: int) -> None:
        nonlocal done
        done += size
        heard(done, total)

    return read


def _verified(catalog: Catalog, entry: Manifest | Damaged, read: Callable[[int], None]) -> dict[str, Any]:
    return _judged(entry, [entry.reason] if isinstance(entry, Damaged) else catalog.verify(entry, read))


def _judged(entry: Manifest | Damaged, problems: list[str]) -> dict[str, Any]:
    return _state(entry.id, DAMAGED if problems else WHOLE, problems)


def _listed(catalog: Catalog, entry: Manifest | Damaged) -> dict[str, Any]:
    if isinstance(entry, Damaged):
        return _state(entry.id, DAMAGED, [entry.reason])
    problems = catalog.missing(entry)
    created = datetime.fromtimestamp(entry.created_ms / 1000, UTC)
    return {
        "id": entry.id,
        "kind": entry.kind,
        "job": entry.job,
        "epoch": entry.epoch,
        "generation": entry.generation,
        "workers": entry.workers,
        "created_at": created.isoformat(timespec="seconds"),
        "duration_ms": entry.duration_ms,
        "new_bytes": entry.new_bytes,
        "total_bytes": entry.total_bytes,
        **_state(entry.id, DAMAGED if problems else PRESENT, problems),
    }


def _state(id: str, state: str, problems: list[str]) -> dict[str, Any]:
    return {"id": id, "state": state, "problems": problems}


def _states(manifest: Manifest) -> Iterator[dict[str, Any]]:
    uids = {number: uid for uid, number in manifest.operators.items()}
    for operator, name, kind, type_text in manifest.states:
        yield {"operator": uids.get(operator, operator), "name": name, "kind": kind, "type": type_text}


def _files(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for part in manifest.parts:
        for entry in part.files:
            yield {
                "worker": part.worker,
                "file": entry.path,
                "kind": entry.kind,
                "items": entry.items,
                "size_bytes": entry.size_bytes,
            }

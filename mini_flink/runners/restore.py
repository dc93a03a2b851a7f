"""From a snapshot to a generation of a data folder: on demand, and after a power cut in ``process``.

Everything that speaks against it is found before anything is touched: a snapshot that is damaged, unfinished
or of another job, state that the job cannot take over, newer state that would be lost. Called by ``arrival``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mini_flink import console
from mini_flink.config import Settings
from mini_flink.core.compatibility import StoredJob, StoredState, stored_states
from mini_flink.errors import FolderError, IncompatibleError, SnapshotError
from mini_flink.folder import DataFolder
from mini_flink.graph import JobGraph
from mini_flink.ids import worker_name
from mini_flink.locks import FolderLock
from mini_flink.runners.generations import LOCK
from mini_flink.runners.rebuild import Before, Rebuild
from mini_flink.runners.stored import states_streamed
from mini_flink.runners.succession import succeed
from mini_flink.snapshots.catalog import Catalog, locate
from mini_flink.snapshots.chain import PartReader
from mini_flink.snapshots.location import default_location, open_store
from mini_flink.snapshots.manifest import Manifest
from mini_flink.supervisor.words import count

ASKED, POWER_CUT = "asked", "power cut"


def restore(
    folder: DataFolder,
    graph: JobGraph,
    settings: Settings,
    text: str,
    directory: str,
    *,
    yes: bool,
    allow_dropped: bool,
) -> None:
    """Go on from the snapshot that ``text`` names; nothing is done if that was just done and not used yet.

    SnapshotError, CorruptionError or IncompatibleError say why it cannot be; FolderError if it would drop
    newer state and nobody has said ``yes``.
    """
    default = default_location(settings.snapshot_dir, folder.path)
    catalog, id = locate(text, directory, default, console.event)
    try:
        manifest = catalog.latest(graph.name) if id is None else catalog.get(id)
        if folder.record.untouched and folder.record.restored == manifest.id:
            return
        _check_job(manifest, graph)
        if id is not None:
            catalog.check_whole(manifest)
        parts = _Parts(catalog, manifest)
        rebuild = _rebuild(parts, folder, graph, settings, allow_dropped=allow_dropped)
        if folder.holds_state:
            _drop(folder, manifest, yes=yes)
        _take_over(parts, rebuild, folder, graph, settings, ASKED)
    finally:
        catalog.store.close()


def restore_after_power_cut(
    folder: DataFolder, graph: JobGraph, settings: Settings, *, allow_dropped: bool
) -> None:
    """The workers may have lost the last seconds unevenly: go back to the last whole snapshot of this folder.

    FolderError if there is none.
    """
    location = default_location(settings.snapshot_dir, folder.path)
    catalog = Catalog(open_store(location), console.event)
    try:
        manifest = catalog.latest_of(lambda entry: _is_of(folder, entry))
        if manifest is None:
            raise _inconsistent(folder, catalog.store.location)
        parts = _Parts(catalog, manifest)
        rebuild = _rebuild(parts, folder, graph, settings, allow_dropped=allow_dropped)
        console.event(
            "warn",
            f"the machine went down while {folder.path} was served with durability 'process': going back to "
            f"the {manifest.title}; what was done since {_said(_cut_ms(manifest))} is lost",
            name="restore.power_cut",
            snapshot=manifest.id,
        )
        _take_over(parts, rebuild, folder, graph, settings, POWER_CUT)
    finally:
        catalog.store.close()


def _is_of(folder: DataFolder, manifest: Manifest) -> bool:
    """Whether this is a snapshot of what the folder held; one that a restore went back behind is none."""
    record = folder.record
    own = manifest.folder_id == record.folder_id and manifest.generation >= record.restored_generation
    return manifest.job == record.job and (own or manifest.id == record.restored)


def _inconsistent(folder: DataFolder, location: str) -> FolderError:
    return FolderError(
        f"{folder.path} was served with durability 'process' when the machine went down: its workers may "
        f"have lost the last seconds unevenly, and {location} has no whole snapshot of it to go back to",
        help="--restore PATH takes one from elsewhere; --accept-inconsistent-state serves what is left; "
        "durability 'disk' survives power cuts",
    )


# --- what speaks against it -------------------------------------------------------------------------------


def _check_job(manifest: Manifest, graph: JobGraph) -> None:
    if manifest.job != graph.name:
        raise SnapshotError(
            f"the {manifest.title} is of job {manifest.job!r}, not of {graph.name!r}",
            help=f"name one of {graph.name!r}, or serve the job that it is of",
        )


def _drop(folder: DataFolder, manifest: Manifest, *, yes: bool) -> None:
    """Say what goes away; FolderError unless it may."""
    record = folder.record
    held = f"generation {record.generation} of {count(record.workers, 'worker')}"
    if record.folder_id == manifest.folder_id:
        what = f"what {folder.path} has done since {_said(_cut_ms(manifest))} ({held})"
    else:
        what = f"all that {folder.path} holds ({held}), and comes from another data folder"
    if not yes:
        raise FolderError(
            f"restoring the {manifest.title} drops {what}",
            help="--yes drops it; another --data-dir keeps both",
        )
    said = f"restoring the {manifest.title} drops {what}"
    console.event("warn", said, name="restore.drops", snapshot=manifest.id)


# --- the way ----------------------------------------------------------------------------------------------


class _Parts:
    """A whole snapshot, open for reading."""

    def __init__(self, catalog: Catalog, manifest: Manifest) -> None:
        self.manifest = manifest
        parts = sorted(manifest.parts, key=lambda part: part.worker)
        self.readers = [PartReader(catalog.store, part) for part in parts]

    def states(self) -> tuple[StoredState, ...]:
        """As the manifest lists them; whether there is anything in them it does not know."""
        manifest = self.manifest
        return stored_states(
            manifest.states,
            operators=manifest.operators,
            fingerprint=manifest.fingerprint,
            parallelisms=manifest.parallelisms,
            workers=manifest.workers,
            max_parallelism=manifest.max_parallelism,
        )


def _rebuild(
    parts: _Parts, folder: DataFolder, graph: JobGraph, settings: Settings, *, allow_dropped: bool
) -> Rebuild:
    """The job on this snapshot; IncompatibleError if its state does not fit."""
    record, manifest = folder.record, parts.manifest
    # A folder that was served keeps what it was given since, a new one gets what the snapshot had.
    known = folder.holds_state
    workers = settings.workers or (record.workers if known else manifest.workers)
    parallelisms = record.parallelisms if known else manifest.parallelisms
    operators, following = _numbers(folder, manifest)

    def on(states: tuple[StoredState, ...]) -> Rebuild:
        stored = StoredJob(manifest.job, manifest.max_parallelism, states, manifest.fingerprint)
        before = Before(stored, operators, following, {**manifest.parallelisms, **record.parallelisms})
        return Rebuild(graph, before, workers, parallelisms, allow_dropped=allow_dropped)

    try:
        return on(parts.states())
    except IncompatibleError:
        # All of it has to be read to know that a state is empty, which then keeps nobody from anything.
        return on(states_streamed(parts.readers, manifest.operators))


def _numbers(folder: DataFolder, manifest: Manifest) -> tuple[Mapping[str, int], int]:
    """The operators' numbers: the folder's own, unless the snapshot comes from where others were given."""
    record = folder.record
    same = all(record.operators.get(uid) == number for uid, number in manifest.operators.items())
    operators = record.operators if same else manifest.operators
    return operators, max(record.next_operator, manifest.next_operator)


def _take_over(
    parts: _Parts, rebuild: Rebuild, folder: DataFolder, graph: JobGraph, settings: Settings, because: str
) -> None:
    manifest, record = parts.manifest, folder.record
    for index in range(record.workers if folder.holds_state else 0):
        # Whoever a dead supervisor has left at work there must not go on beside the new generation.
        lock = os.path.join(folder.process_folder(worker_name(index)), LOCK)
        FolderLock.evict(lock).release()
    folder.skip_incarnations(manifest.incarnations)
    facts: dict[str, Any] = {
        "restored": manifest.id,
        "restored_because": because,
        "lost_since": _iso(_cut_ms(manifest)),
        "restored_generation": record.generation + 1,
        "untouched": True,
    }
    succeed(
        folder,
        graph,
        rebuild,
        parts.readers,
        settings,
        epoch=max(record.epoch, manifest.epoch),
        **facts,
    )


def _cut_ms(manifest: Manifest) -> int:
    """When the workers stood as the snapshot has them, or a little before."""
    return manifest.created_ms - manifest.duration_ms


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _said(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"

"""The supervisor's part of a simulated world: what is durable beside the workers' disks, and snapshots.

``Folder`` is the data folder: it outlives everybody. ``Store`` is where snapshots are: files of the shipped
format in memory, and which of them are complete. ``Supervisor`` dies with everybody else.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import fsspec

from mini_flink.core.epochs import SnapshotRounds
from mini_flink.snapshots.chain import PartReader
from mini_flink.snapshots.location import open_store
from mini_flink.snapshots.manifest import FileEntry, Part, snapshot_id
from mini_flink.state.memory import MemoryDisk
from mini_flink.worker.host import Capture
from mini_flink.worker.snapshots import Order
from tests.simulation.job import Job

if TYPE_CHECKING:
    from tests.simulation.processes import Worker
    from tests.simulation.world import World

FOLDER_ID = 7
_places = itertools.count()


class Folder:
    """What a supervisor finds when it starts. Every change is durable when the method returns."""

    def __init__(self, job: Job) -> None:
        self.generation = 1
        self.epoch = 0
        self.job = job
        self.disks = [MemoryDisk() for _ in range(job.workers)]
        self.incarnations: dict[str, int] = {}

    def raise_incarnation(self, name: str) -> int:
        self.incarnations[name] = self.incarnations.get(name, 0) + 1
        return self.incarnations[name]

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def switch(self, job: Job, disks: Sequence[MemoryDisk]) -> None:
        """From now on the next generation counts."""
        self.generation += 1
        self.job, self.disks = job, list(disks)


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot. ``announced``: what was answered before that moment is in it."""

    epoch: int
    announced: int
    job: Job
    parts: Mapping[int, Part]


class Store:
    """Files in memory, and the snapshots that are complete, oldest first."""

    def __init__(self) -> None:
        self.location = f"memory://simulation/{next(_places)}"
        self.complete: list[Snapshot] = []

    def readers(self, snapshot: Snapshot) -> list[PartReader]:
        """The parts of a snapshot, worker by worker."""
        store = open_store(self.location)
        return [PartReader(store, snapshot.parts[worker]) for worker in sorted(snapshot.parts)]

    def clear(self) -> None:
        """The world is over."""
        files = fsspec.filesystem("memory")
        place = self.location.removeprefix("memory:/")
        if files.exists(place):
            files.rm(place, recursive=True)


class Supervisor:
    """One incarnation of it: it knows what ``folder`` and ``store`` say, and nothing of its predecessor."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rounds = SnapshotRounds()
        self._last: Snapshot | None = None
        self._announced = 0
        self._suspended = False
        self._truths: dict[tuple[int, int], dict[bytes, bytes]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is under way."""
        return self._rounds.current is not None

    def begin(self) -> None:
        """Give out an epoch and announce it, if all workers are up."""
        world = self._world
        if self._suspended or any(worker.is_down for worker in world.workers):
            return
        epoch = self.next_epoch()
        self._announced = world.new_serial()
        self._rounds.begin(epoch, range(len(world.workers)), 0)
        base = self._last.epoch if self._last is not None and world.rng.random() < 0.8 else 0
        order = Order(epoch, snapshot_id(FOLDER_ID, epoch), world.store.location, base)
        for worker in world.workers:
            if world.rng.random() >= world.chaos.loss:
                world.mail(worker, lambda worker=worker: worker.take_order(order))
        world.events["epoch"] += 1

    def next_epoch(self) -> int:
        """An epoch that was never given out before."""
        return self._world.folder.next_epoch()

    def note_truth(self, worker: Worker, capture: Capture) -> None:
        """What a worker has captured is what its part must hold, however it is stored."""
        self._truths[worker.index, capture.epoch] = dict(capture.view.scan(b""))

    def take_part(self, worker: Worker, epoch: int, outcome: Mapping[str, Any]) -> None:
        """A worker has stored its part."""
        if self._rounds.current is None or self._rounds.current.epoch != epoch:
            return
        if "reason" in outcome:
            self._world.problems.append(f"a part was not stored: {outcome}")
            return
        part = self._whole(worker.index, outcome)
        parts = self._rounds.report(worker.index, epoch, part)
        if parts is not None:
            self._complete(epoch, parts)

    def _whole(self, worker: int, outcome: Mapping[str, Any]) -> Part:
        files = tuple(FileEntry(**file) for file in outcome["files"])
        part = Part(worker, outcome["commit_number"], files)
        if self._last is None or all(file.kind != "delta" for file in files):
            return part
        chain = tuple(file for file in self._last.parts[worker].files if file.kind != "channels")
        return replace(part, files=chain + files)

    def _complete(self, epoch: int, parts: Mapping[int, Part]) -> None:
        world = self._world
        self._last = Snapshot(epoch, self._announced, world.folder.job, parts)
        world.store.complete.append(self._last)
        readers = world.store.readers(self._last)
        for worker, reader in enumerate(readers):
            if dict(reader.scan(b"")) != self._truths.get((worker, epoch)):
                world.problems.append(f"part {worker} of epoch {epoch} is not what was captured")
        self._last.job.reshard(readers, self._last.job).closing()  # raises if this is no consistent cut
        self._truths.clear()
        kinds = {file.kind for part in parts.values() for file in part.files}
        world.events["incremental snapshot" if "delta" in kinds else "whole snapshot"] += 1
        for worker in world.workers:
            world.mail(worker, lambda worker=worker: worker.snapshots.end(epoch, complete=True))

    def ended(self, worker: Worker) -> None:
        """A worker is gone; what it had not reported is lost."""
        if worker in self._world.workers:
            epoch = self._rounds.died(worker.index)
            if epoch is not None:
                self._abandoned(epoch)

    def _abandoned(self, epoch: int) -> None:
        self._world.events["abandoned epoch"] += 1
        for worker in self._world.workers:
            self._world.mail(worker, lambda worker=worker: worker.snapshots.end(epoch, complete=False))

    def suspend(self) -> None:
        """No snapshots until ``resume``."""
        self._suspended = True
        epoch = self._rounds.abandon()
        if epoch is not None:
            self._abandoned(epoch)

    def resume(self, *, same_workers: bool) -> None:
        """Go on; after other workers have taken over, the next one builds on nothing."""
        self._suspended = False
        if not same_workers:
            self._last = None

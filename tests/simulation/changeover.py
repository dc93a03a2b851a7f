"""From one generation to the next in a simulated world: the restore, and the protocol of rescale and upgrade.

What the supervisor and the resharder do in processes of their own is done here step by step, each when the
seed says so, with the machine that ships (``Reshard``) on whatever the old workers have left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mini_flink.core.backlog import Source
from mini_flink.core.reshard import build, load
from mini_flink.state import layout
from mini_flink.state.memory import MemoryDisk, MemoryTable, MemoryView
from tests.simulation.job import Job
from tests.simulation.processes import Gateway, Tell, Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

TRACK, COPY, HOLD, FINISH, BUILD = "track", "copy", "hold", "finish", "build"
TRIAL, START, RELEASE, OVER = "trial", "start", "release", "over"
MAX_COPIES = 3
PATIENCE = 400
"""Steps after which clients have waited too long and everything goes back."""

Items = dict[bytes, bytes]


def restore(world: World, job: Job) -> None:
    """Everybody is dead: begin a new generation with what the latest complete snapshot holds."""
    snapshot = world.store.complete[-1]
    sources = world.store.readers(snapshot)
    disks = [MemoryDisk() for _ in range(job.workers)]
    tables = [MemoryTable(disk) for disk in disks]
    build(job.reshard(sources, snapshot.job), tables)
    for table in tables:
        table.write([(layout.EPOCH, world.folder.epoch.to_bytes(8, "big"))], 0)
    world.folder.switch(job, disks)
    for request in world.requests:
        request.undone |= request.outcome is None or request.answered_at > snapshot.announced


class Changeover:
    """One attempt at a rescale or an upgrade: ``step`` until ``phase`` is ``OVER``."""

    def __init__(self, world: World, job: Job, *, upgrade: bool) -> None:
        self.phase = TRACK
        self._world = world
        self._old = world.folder.job
        self._job = job
        self._generation = world.folder.generation + 1
        self._is_upgrade = upgrade
        self._copies_ahead = world.rng.random() < 0.7
        self._copies = 0
        self._views: dict[int, MemoryView] = {}
        self._drafts: list[Items] | None = None
        self._tails: dict[int, set[bytes] | None] = {}
        self._disks: list[MemoryDisk] = []
        self._trial: list[Worker] = []
        self._workers: list[Worker] = []
        self._gateways: list[Gateway] = []
        self._waited = 0
        world.supervisor.suspend()
        self._track()

    @property
    def newcomers(self) -> list[Worker | Gateway]:
        """The processes of the next generation, while it does not count."""
        return [*self._trial, *self._workers, *self._gateways]

    # --- who has done what was asked --------------------------------------------------------------------

    def _await(self, processes: Iterable[Worker | Gateway]) -> None:
        self._awaited = set(processes)

    def _done(self, process: Worker | Gateway, phase: str) -> Callable[[], None]:
        def done() -> None:
            if self.phase == phase:
                self._awaited.discard(process)

        return done

    def _told(self, worker: Worker, phase: str) -> Tell:
        """The same, with the keys that a worker has changed since it was last asked."""

        def told(keys: set[bytes] | None) -> None:
            if self.phase == phase:
                self._tails[worker.index] = keys
                self._awaited.discard(worker)

        return told

    @property
    def has_patience(self) -> bool:
        """Whether clients have not waited too long yet."""
        return self._waited <= PATIENCE

    def calm_down(self) -> None:
        """From here on nothing can hold it up."""
        self._waited = 0

    def step(self) -> None:
        """Do the next thing, if it is not for others to do."""
        self._waited += 1
        if not self.has_patience and self.phase != RELEASE:
            self.abort()
        elif self.phase == COPY:
            self._copy()
        elif self.phase == START:
            self._start_one()
        elif self.phase != OVER and not self._awaited:
            getattr(self, f"_after_{self.phase}")()

    # --- the way ----------------------------------------------------------------------------------------

    def _track(self) -> None:
        world = self._world
        self.phase = TRACK
        self._await(world.workers)
        label = f"g{self._generation}.{world.new_serial()}"
        for worker in world.workers:
            world.mail(worker, partial(worker.track, label, self._told(worker, TRACK)))

    def _after_track(self) -> None:
        self.phase = COPY
        self._views.clear()
        self._copies += 1
        if self._is_upgrade and self._copies == 1:
            slots = [gateway.slot for gateway in self._world.gateways]
            first = 0 if min(slots) else len(slots)
            self._gateways = [
                Gateway(self._world, slot, self._job, self._generation)
                for slot in range(first, first + len(slots))
            ]
            for gateway in self._gateways:
                gateway.start(standby=True)

    def _copy(self) -> None:
        """One worker's table as it is now, beside the worker; then what is in all of them."""
        missing = [worker for worker in self._world.workers if worker.index not in self._views]
        if not self._copies_ahead:
            self._hold()
        elif missing:
            worker = self._world.rng.choice(missing)
            self._views[worker.index] = MemoryView(worker.disk.table.items)
        else:
            self._drafts = self._copied([self._views[index] for index in sorted(self._views)])
            if self._copies < MAX_COPIES and self._world.rng.random() < 0.4:
                self._track()
            else:
                self._hold()

    def _copied(self, sources: Sequence[Source]) -> list[Items]:
        """Everything, or what the workers say has changed since the last time."""
        if self._drafts is None or None in self._tails.values():
            return self._bulk(sources)
        self._add_tails(sources, self._drafts)
        return self._drafts

    def _bulk(self, sources: Sequence[Source]) -> list[Items]:
        drafts: list[Items] = [{} for _ in range(self._job.workers)]
        for _, worker, items in self._job.reshard(sources, self._old).all_runs():
            drafts[worker].update(items)
        return drafts

    def _hold(self) -> None:
        world = self._world
        self.phase = HOLD
        self._await(world.gateways)
        for gateway in world.gateways:
            held = self._done(gateway, HOLD)
            if self._is_upgrade:
                turns = world.rng.choice((3, 30, 1000))
                world.mail(
                    gateway, lambda gateway=gateway, turns=turns, held=held: gateway.close_doors(turns, held)
                )
            else:
                world.mail(gateway, lambda gateway=gateway, held=held: gateway.hold(held))

    def _after_hold(self) -> None:
        self.phase = FINISH
        self._await(self._world.workers)
        gateways = [gateway.name for gateway in self._world.gateways]
        for worker in self._world.workers:
            self._world.mail(worker, partial(worker.finish, gateways, self._told(worker, FINISH)))

    def _after_finish(self) -> None:
        """All stand still: their tables are a consistent cut."""
        self.phase = BUILD
        sources = self._sources()
        whole: list[Items] = [{} for _ in range(self._job.workers)]
        load(self._job.reshard(sources, self._old), lambda worker, items: whole[worker].update(items))
        drafts = self._copied(sources)
        self._add_closing(sources, drafts)
        self._world.check(drafts == whole, "copying ahead gives other tables than copying at once")
        for draft in drafts:
            disk = MemoryDisk()
            epoch = self._world.folder.epoch.to_bytes(8, "big")
            MemoryTable(disk).write([*draft.items(), (layout.EPOCH, epoch)], 0)
            self._disks.append(disk)

    def _sources(self) -> list[Source]:
        return [MemoryView(worker.disk.table.items) for worker in self._world.workers]

    def _add_tails(self, sources: Sequence[Source], drafts: list[Items]) -> None:
        self._world.events["copied again"] += 1
        machine = self._job.reshard(sources, self._old)
        for index, keys in self._tails.items():
            for worker, key, value in machine.tail(index, keys or ()):
                if value is None:
                    drafts[worker].pop(key, None)
                else:
                    drafts[worker][key] = value

    def _add_closing(self, sources: Sequence[Source], drafts: list[Items]) -> None:
        for draft, items in zip(drafts, self._job.reshard(sources, self._old).closing(), strict=True):
            draft.update(items)

    def _after_build(self) -> None:
        if self._is_upgrade:
            self.phase = TRIAL
        else:
            self._enter_start()

    def _after_trial(self) -> None:
        """The new version answers a probe on state that is thrown away, or does not."""
        world, gateway = self._world, self._gateways[0]
        if gateway.is_down:
            return
        before = [(dict(disk.table.items), disk.table.number, disk.log.last) for disk in self._disks]
        self._trial = workers = self._new_workers()
        for worker in workers:
            worker.start(trial=True)
        gateway.change(self._generation, self._job, workers)
        is_answered = world.ask_on_trial(gateway, workers)
        self._trial = []
        for worker in workers:
            worker.die()
        after = [(disk.table.items, disk.table.number, disk.log.last) for disk in self._disks]
        world.check(before == after, "a trial has left a trace on disk")
        world.events["trial answered" if is_answered else "trial cut short"] += 1
        if is_answered:
            gateway.forget_probe()
            self._enter_start()
        else:
            self.abort()

    def _new_workers(self) -> list[Worker]:
        return [
            Worker(self._world, index, self._job, self._generation, disk)
            for index, disk in enumerate(self._disks)
        ]

    def _enter_start(self) -> None:
        self.phase = START
        self._workers = self._new_workers()

    def _start_one(self) -> None:
        down = [worker for worker in self._workers if worker.is_down]
        if down:
            self._world.rng.choice(down).start(paused=True)
        else:
            self._switch()

    def _switch(self) -> None:
        """The point of no return: the next generation is the one that counts."""
        world, workers = self._world, self._workers
        self.phase = RELEASE
        world.folder.switch(self._job, self._disks)
        leaving: list[Worker | Gateway] = [*world.workers]
        world.workers = workers
        if self._is_upgrade:
            leaving += world.gateways
            world.gateways = self._gateways
        self._workers, self._gateways = [], []
        for process in leaving:
            process.die()
        self._await(world.gateways)
        for worker in world.workers:
            world.mail(worker, worker.go)
        for gateway in world.gateways:
            gateway.generation, gateway.job = self._generation, self._job
            world.mail(gateway, lambda gateway=gateway: self._go(gateway))
        for gateway in world.gateways:
            if gateway.is_down:
                self._awaited.discard(gateway)
        world.events[f"{self._kind} switched"] += 1

    def _go(self, gateway: Gateway) -> None:
        gateway.go(self._generation, self._job, self._world.workers)
        self._done(gateway, RELEASE)()

    @property
    def _kind(self) -> str:
        return "upgrade" if self._is_upgrade else "rescale"

    def _after_release(self) -> None:
        self.phase = OVER
        self._world.supervisor.resume(same_workers=False)

    # --- when it comes to nothing -----------------------------------------------------------------------

    def start(self, gateway: Gateway) -> None:
        """Start a gateway again: once nobody is let in any more, it must not let anybody in either."""
        if gateway not in self._world.gateways or self.phase in (TRACK, COPY, RELEASE, OVER):
            gateway.start()
        elif self._is_upgrade:
            gateway.start(standby=True)
            self._done(gateway, HOLD)()
        else:
            gateway.start(self._done(gateway, HOLD))

    def ended(self, process: Worker | Gateway) -> None:
        """A process is gone."""
        if self.phase == RELEASE:
            self._awaited.discard(process)
        elif process in self._gateways or process in self._workers:
            self.abort()
        elif isinstance(process, Worker) and process in self._world.workers:
            self.abort()  # what it had noted of its changes is lost with it

    def abort(self) -> None:
        """Back to how it was: everybody is still there, and told to go on."""
        if self.phase in (RELEASE, OVER):
            return
        world, newcomers = self._world, self.newcomers
        world.events[f"{self._kind} aborted in {self.phase}"] += 1
        self.phase = OVER
        self._workers, self._gateways = [], []
        for process in newcomers:
            process.die()
        for worker in world.workers:
            world.mail(worker, worker.go)
        for gateway in world.gateways:
            world.mail(
                gateway, lambda gateway=gateway: gateway.go(gateway.generation, gateway.job, world.workers)
            )
        world.supervisor.resume(same_workers=True)

"""The processes of a simulated world: ``Host`` and ``Engine`` in a worker, ``PendingMap`` in a gateway.

Each does what its process's loop does, in the same order; when it does so, and where it dies, is the world's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mini_flink import wire
from mini_flink.core.base import Identity, Limits
from mini_flink.core.changes import ChangedKeys
from mini_flink.core.effects import Connect, Effect, Send
from mini_flink.core.engine import Engine
from mini_flink.core.pending import Extra, Full, Outcome, PendingMap
from mini_flink.ids import gateway_name, worker_name
from mini_flink.state.memory import MemoryDisk, MemoryLog, MemoryTable
from mini_flink.worker.host import Capture, Host
from mini_flink.worker.letters import look
from mini_flink.worker.registry import Registry
from mini_flink.worker.snapshots import Order, WorkerSnapshots
from mini_flink.worker.trial import trial_devices
from mini_flink.worker.worker import Devices
from tests.simulation.devices import Crashed, Fuse, Progress, SimBackground, SimLog, SimTransport, Undertaker
from tests.simulation.job import FEED, MAX_PARALLELISM, TOTAL, Job, Tasks

if TYPE_CHECKING:
    from tests.simulation.world import World

Tell = Callable[[set[bytes] | None], None]
"""Tells the supervisor that what it asked for is done, and which keys have changed (None: too many)."""


@dataclass
class Request:
    """What a client asked and heard. ``undone``: a restore may have taken back what it did."""

    token: int
    key: int
    kind: str
    parts: int
    gateway: tuple[int, int] = (-1, 0)
    outcome: Outcome | None = None
    answered_at: int = 0
    undone: bool = False

    @property
    def packed_key(self) -> bytes:
        return b"k%d" % self.key


class Worker:
    """A worker's place in one generation: its disk stays, its processes come and go."""

    def __init__(self, world: World, index: int, job: Job, generation: int, disk: MemoryDisk) -> None:
        self.world = world
        self.index = index
        self.name = worker_name(index)
        self.job = job
        self.generation = generation
        self.disk = disk
        self.incarnation = 0
        self.host: Host | None = None
        self._label = ""
        self._finishing: Tell | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.name}.{self.incarnation}"

    @property
    def is_down(self) -> bool:
        return self.host is None

    def start(self, *, paused: bool = False, trial: bool = False) -> None:
        world = self.world
        self.incarnation = world.folder.raise_incarnation(self.name)
        self._label = ""
        self._finishing = None
        self.fuse = Fuse()
        if not trial and world.rng.random() < world.chaos.crash:
            self.fuse.left = world.rng.randrange(6)
        self.background, self.copying = SimBackground(), SimBackground()
        self.transport = SimTransport(world, self.fuse)
        self.disk.crash()
        devices = self._devices(trial=trial)
        self._make_host(devices)
        self.engine.paused = paused
        world.listen(self)
        try:
            self._come_up(devices, trial=trial)
        except Crashed:
            self.die()
        else:
            world.announce(self)

    def _devices(self, *, trial: bool) -> Devices:
        table = MemoryTable(self.disk)
        if trial:
            return trial_devices(table, self.transport, self.background)
        log = SimLog(MemoryLog(self.disk, durable=self.world.durable), self.fuse, self.world)
        return Devices(log, table, self.transport, self.background)

    def _make_host(self, devices: Devices) -> None:
        world = self.world
        self.engine = engine = Engine(
            Identity(self.name, self.incarnation, self.generation, self.endpoint),
            [worker_name(index) for index in range(self.job.workers)],
            [gateway_name(slot) for slot in range(world.slots)],
            devices.table,
            limits=Limits(
                batch_records=world.rng.choice((2, 8)), flush_interval_s=0.3, channel_window_bytes=400
            ),
            progress=Progress(),
            undertaker=Undertaker(world),
            clock=lambda: world.now,
            durable=world.durable,
        )
        if world.max_changed_keys:
            engine.changed = ChangedKeys(world.max_changed_keys)
        self.snapshots = WorkerSnapshots(self.index, "", engine.changed, self.copying, self._tell_part)
        self.host = Host(
            engine, devices.log, devices.table, devices.transport, devices.background, captured=self._captured
        )

    def _come_up(self, devices: Devices, *, trial: bool) -> None:
        engine, job, host, world = self.engine, self.job, self.host, self.world
        host.recover()
        host.secure()
        registry = Registry(engine.overlay, devices.table, job.uids, MAX_PARALLELISM)
        indexes = job.register(registry.register)
        world.check(
            all(job.indexes[name] == index for (_, name), index in indexes.items()), "a state has moved"
        )
        registry.check_complete()
        engine.check_deliverable(job.plan.stages, job.uids)
        engine.tasks = {
            number: Tasks(engine, job, stage.uid, world, self.index)
            for number, stage in job.plan.stages.items()
        }
        if trial:
            engine.forget_backlog()
        elif self.index == 0 and world.is_fed:
            [source] = job.plan.collection_sources
            engine.add_feed(f"c{source.number}", job.numbers[FEED], job.plan.collection_elements(source.node))
        for peer in world.peers_of(self):
            host.carry_out(engine.meet(peer.name, peer.incarnation, peer.endpoint))
        host.carry_out(engine.hello())

    # --- running ----------------------------------------------------------------------------------------

    def meet(self, peer: Worker | Gateway) -> None:
        self.guarded(
            lambda host: host.carry_out(host.engine.meet(peer.name, peer.incarnation, peer.endpoint))
        )

    def guarded(self, action: Callable[[Host], None]) -> None:
        if self.host is None:
            return
        try:
            action(self.host)
        except Crashed:
            self.die()

    def die(self) -> None:
        if self.host is not None:
            self.host = None
            self.disk.crash()
            self.world.ended(self)

    def deliver(self, message: bytes) -> None:
        data = wire.decode(message)
        self.guarded(lambda host: host.receive(data, self.world.now))

    def turn(self) -> None:
        world, rng = self.world, self.world.rng
        if self.host is None:
            return
        if self.fuse.left is None and rng.random() < world.chaos.crash:
            self.fuse.left = rng.randrange(8)
        self.guarded(lambda host: host.turn(world.now, int(world.now * 1000)))
        if self.host is not None and self.background.work and rng.random() < world.chaos.flush:
            self.guarded(lambda _: self.background.run_one())
        if self.host is not None and world.changes:
            if self.copying.work and rng.random() < world.chaos.copy:
                self.copying.run_one()
            self.snapshots.turn()
            self._finish_if_drained()

    # --- dead letters -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Somebody retries or drops some of the dead letters that are here."""
        world, rng = self.world, self.world.rng
        packed = [letter for _, letter in self.engine.dead_letters() if rng.random() < 0.5]
        chosen = [wire.unpack(letter) for letter in packed]
        do = rng.choice(("retry", "retry", "drop"))
        tokens = {wire.unpack(each["value"])[0] for each in chosen}
        if do == "drop":
            world.dropped |= tokens
        else:
            world.mended |= {token for token in sorted(tokens) if rng.random() < 0.8}
        ids = [each["error_id"] for each in chosen]
        question = {"do": do, "ids": ids, "operator": None}
        told: list[dict[str, Any]] = []
        self.guarded(lambda host: told.append(look(host, self.index, question, world.now)))
        if chosen and told and "reason" not in told[0]:
            world.events[f"dead letters: {do}"] += 1

    # --- snapshots --------------------------------------------------------------------------------------

    def take_order(self, order: Order) -> None:
        """The supervisor begins an epoch."""
        if self.host is not None:
            self.engine.hear_of_epoch(order.epoch)
            self.snapshots.order(order)

    def _captured(self, capture: Capture) -> None:
        self.fuse.burn()
        self.world.supervisor.note_truth(self, capture)
        self.snapshots.captured(capture)

    def _tell_part(self, epoch: int, outcome: dict[str, Any]) -> None:
        self.world.tell(self, lambda: self.world.supervisor.take_part(self, epoch, outcome))

    # --- from one generation to the next ----------------------------------------------------------------

    def track(self, label: str, tracked: Tell) -> None:
        """From here on changes count for ``label``; those since the last one are told."""
        if self.host is None:
            return
        last, self._label = self._label, label
        keys = self.engine.changed.since(last) if last else None
        self.engine.track_changes(label)
        self.engine.changed.forget(last)
        self.world.tell(self, lambda: tracked(keys))

    def finish(self, gateways: Sequence[str], finished: Tell) -> None:
        """Run nothing more, and come to a stand."""
        if self.host is not None:
            self._finishing = finished
            self.engine.paused = True
            self.engine.forget_gateways_but(gateways)

    def _finish_if_drained(self) -> None:
        """Once the gateways have all that was for them: flush, tell what has changed, and stand still."""
        host, finished = self.host, self._finishing
        if host is None or finished is None or host.is_held or not self.engine.drained:
            return
        self._finishing = None
        flushed: list[bool] = []
        self.guarded(lambda host: flushed.append(host.flush_all()))
        if self.host is not None and flushed[0]:
            keys = self.engine.changed.since(self._label)
            self.world.tell(self, lambda: finished(keys))

    def go(self) -> None:
        """Run again, or for the first time."""
        if self.host is not None:
            self._finishing = None
            self.engine.changed.forget(self._label)
            self._label = ""
            self.engine.paused = False


class Gateway:
    """A gateway's slot: nothing of it is durable but the number of its incarnations."""

    def __init__(self, world: World, slot: int, job: Job, generation: int) -> None:
        self.world = world
        self.slot = slot
        self.name = gateway_name(slot)
        self.generation = generation
        self.job = job
        self.incarnation = 0
        self.map: PendingMap[Request] | None = None
        self.is_standby = False
        self._holding = False
        self._held: Callable[[], None] | None = None
        self._closed_for: int | None = None
        self._door: list[Request] = []

    @property
    def endpoint(self) -> str:
        return f"{self.name}.{self.incarnation}"

    @property
    def is_down(self) -> bool:
        return self.map is None

    def start(self, held: Callable[[], None] | None = None, *, standby: bool = False) -> None:
        """``held``: it holds from the beginning, and says so. On ``standby`` it waits for its workers."""
        world = self.world
        self.incarnation = world.folder.raise_incarnation(self.name)
        self.is_standby = standby
        self._closed_for = None
        self._holding = held is not None or standby
        self._held = held
        self.transport = SimTransport(world, Fuse())
        identity = Identity(self.name, self.incarnation, self.generation, self.endpoint)
        self.map_job = self.job
        self.map = PendingMap(identity, self.slot, self.job.workers, capacity=64, window_bytes=400)
        world.listen(self)
        self.greet(world.peers_of(self))
        world.announce(self)

    def greet(self, peers: Iterable[Worker | Gateway]) -> None:
        for peer in peers:
            self.meet(peer)
        self.carry_out(self.map.hello())

    def meet(self, peer: Worker | Gateway) -> None:
        if self.map is not None and isinstance(peer, Worker):
            self.carry_out(self.map.meet(peer.name, peer.incarnation, peer.endpoint))

    def die(self) -> None:
        if self.map is not None:
            self.map = None
            self._door.clear()
            self.world.ended(self)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.transport.send(effect.peer, effect.message)
            elif isinstance(effect, Connect):
                self.transport.connect(effect.peer, effect.endpoint)

    def submit(self, request: Request) -> None:
        if self.map is None or self._closed_for is not None:
            return
        if self._holding:
            self._door.append(request)
            return
        try:
            self.enter(request)
        except Full:
            return
        self.world.requests.append(request)

    def enter(self, request: Request) -> None:
        job, now = self.map_job, self.world.now
        request.gateway = (self.slot, self.incarnation)
        value = wire.pack([request.token, request.kind, request.parts, 0])
        key = request.packed_key
        target = (job.numbers[TOTAL], job.home(TOTAL, key).subtask, key, value)
        self.map.submit(request, target, 1000.0, now, int(now * 1000))

    def deliver(self, message: bytes) -> None:
        if self.map is None:
            return
        outcomes: list[tuple[Request, Outcome]] = []
        self.carry_out(self.map.receive(wire.decode(message), self.world.now, outcomes))
        for request, outcome in outcomes:
            if isinstance(outcome, Extra):
                continue
            if request.outcome is not None:
                self.world.problems.append(f"{request} was answered again: {outcome}")
            request.outcome = outcome
            request.answered_at = self.world.new_serial()

    def turn(self) -> None:
        if self.map is None:
            return
        self.carry_out(self.map.due(self.world.now))
        if self._held is not None and self._holding and self.map.drained:
            held, self._held = self._held, None
            self.world.tell(self, held)
        if self._closed_for is not None and not self._holding:
            self._closed_for -= 1
            self._holding = not self.map or self._closed_for < 0

    # --- from one generation to the next ----------------------------------------------------------------

    def hold(self, held: Callable[[], None]) -> None:
        """Number nothing new; ``held`` once the workers have committed all that was let in."""
        self._holding, self._held = True, held

    def close_doors(self, turns: int, held: Callable[[], None]) -> None:
        """Accept nobody, answer who is there, for so many turns at most; then hold."""
        self._closed_for, self._held = turns, held

    def fail_pending(self) -> None:
        """A restore: nobody will answer those who wait."""
        self.map.abandon()
        self._door.clear()

    def forget_probe(self) -> None:
        """The workers on trial have answered, and will be gone with all they did."""
        self.map.abandon()

    def change(self, generation: int, job: Job, workers: Iterable[Worker]) -> None:
        """Meet the workers of another generation, in whose hands is what this gateway waits for."""
        if self.is_standby:
            self.map.abandon()
        self.map.change_generation(generation, job.workers)
        self.map_job = job
        self.greet([worker for worker in workers if worker.incarnation])

    def go(self, generation: int, job: Job, workers: Iterable[Worker]) -> None:
        """Let everybody in again, with other workers if there is a new generation."""
        if self.map is None:
            return
        if self.is_standby or self.map.identity.generation != generation:
            self.change(generation, job, workers)
        self.is_standby = self._holding = False
        self._held = self._closed_for = None
        door, self._door = self._door, []
        for request in door:
            self.submit(request)

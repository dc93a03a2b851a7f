"""Planted mistakes in snapshots and changes of the generation: each must be noticed, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mini_flink import wire
from mini_flink.core.backlog import Backlog
from mini_flink.core.changes import ChangedKeys
from mini_flink.core.effects import Effect, Send
from mini_flink.core.engine import Engine
from mini_flink.core.links import Link
from mini_flink.core.pending import PendingMap
from mini_flink.core.reshard import Reshard
from mini_flink.ids import worker_name
from mini_flink.state import layout
from mini_flink.worker.host import Capture, Host
from mini_flink.worker.snapshots import Order
from tests.simulation import changeover
from tests.simulation.job import TOTAL, Job
from tests.simulation.mutants import MUTANTS, replaced
from tests.simulation.processes import Gateway, Worker
from tests.simulation.supervisor import Folder, Supervisor
from tests.simulation.world import World
from tests.simulation.worlds import ALL, LATE, RESCALE, RESTORE, UPGRADE

mutant = MUTANTS


# --- epochs -----------------------------------------------------------------------------------------------


@mutant(RESTORE, LATE)
def position_messages_without_the_epoch() -> Iterator[None]:
    original = Engine._data

    def data(self: Engine, link: Link, first: int, records: list[bytes], *rest: Any) -> Send:
        epoch, self.epoch = self.epoch, self.epoch if records else 0
        try:
            return original(self, link, first, records, *rest)
        finally:
            self.epoch = epoch

    with replaced(Engine, "_data", data):
        yield


@mutant(RESTORE, LATE)
def newer_epoch_looked_at_too_early() -> Iterator[None]:
    """A worker takes in what was sent in a newer epoch before it has ended its own."""
    original = Engine.receive

    def receive(self: Engine, message: wire.Data, now: float) -> list[Effect]:
        self.hear_of_epoch(message.epoch)
        return original(self, message._replace(epoch=min(message.epoch, self.epoch)), now)

    with replaced(Engine, "receive", receive):
        yield


@mutant(RESTORE, LATE)
def outbox_trimmed_by_the_new_epoch() -> Iterator[None]:
    """A record of a newer epoch waits, its acknowledgement does not."""
    original = Engine.receive

    def receive(self: Engine, message: wire.Data, now: float) -> list[Effect]:
        link = self._links.get(message.sender)
        if (
            message.epoch > self.epoch
            and link is not None
            and message.generation == self.identity.generation
            and message.incarnation == link.incarnation
            and message.session == link.session
        ):
            self._take_position(link, message, now)
        return original(self, message, now)

    with replaced(Engine, "receive", receive):
        yield


@mutant(RESTORE, LATE)
def epoch_not_durable_in_workers() -> Iterator[None]:
    """A worker that was started again thinks that it is in the first epoch."""
    original = Engine.recover

    def recover(self: Engine, commit_number: int, log: Iterable[tuple[int, bytes]]) -> None:
        original(self, commit_number, log)
        self.epoch = self._wanted_epoch = 0

    with replaced(Engine, "recover", recover):
        yield


@mutant(RESTORE, LATE)
def epoch_not_durable_in_supervisor() -> Iterator[None]:
    """A supervisor that was started again begins to count anew."""
    original = Supervisor.__init__

    def start(self: Supervisor, world: World) -> None:
        original(self, world)
        world.folder.epoch = 0

    with replaced(Supervisor, "__init__", start):
        yield


@mutant(RESTORE, LATE)
def abandoned_epoch_retaken() -> Iterator[None]:
    """An epoch that came to nothing is tried again: who has ended it already gives what it holds now."""
    abandoned = Supervisor._abandoned
    take_order = Worker.take_order

    def abandon(self: Supervisor, epoch: int) -> None:
        abandoned(self, epoch)
        self._again = epoch

    def next_epoch(self: Supervisor) -> int:
        again = self.__dict__.pop("_again", 0)
        return again or self._world.folder.next_epoch()

    def retake(self: Worker, order: Order) -> None:
        if self.host is not None and self.engine.epoch == order.epoch and not self.engine._flushes:
            self.snapshots._order = None
            self.guarded(lambda host: host.carry_out([self.engine.freeze(snapshot=order.epoch)]))
        take_order(self, order)

    with (
        replaced(Supervisor, "_abandoned", abandon),
        replaced(Supervisor, "next_epoch", next_epoch),
        replaced(Worker, "take_order", retake),
    ):
        yield


# --- what is captured ---------------------------------------------------------------------------------------


@mutant(RESTORE, LATE)
def view_opened_after_a_later_flush() -> Iterator[None]:
    def write_table(self: Host) -> None:
        flush = self._flushes[0]
        self._table.write(flush.items.items(), flush.number)
        late = self.__dict__.get("_late")
        if late is not None:
            self._capture = Capture(late.snapshot, late.number, self._table.open_view())
        self._late = flush if flush.snapshot else None

    with replaced(Host, "_write_table", write_table):
        yield


@mutant(RESTORE, LATE)
def changed_keys_of_the_epoch_before_forgotten() -> Iterator[None]:
    """An incremental part holds what changed in its own epoch, and not what changed since the base."""
    original = ChangedKeys.since

    def since(self: ChangedKeys, label: int | str, until: int | str | None = None) -> set[bytes] | None:
        known = original(self, label, until)
        labels = list(self._since)
        if known is None or until not in labels or labels.index(until) == 0:
            return known
        return set(self._since[labels[labels.index(until) - 1]]) if labels[0] == label else known

    with replaced(ChangedKeys, "since", since):
        yield


@mutant(RESCALE, UPGRADE)
def tail_without_what_was_in_flight() -> Iterator[None]:
    """What was being flushed when tracking began is neither in the copy nor in the tail."""

    def track_changes(self: Engine, label: str) -> None:
        self.changed.mark(label)

    with replaced(Engine, "track_changes", track_changes):
        yield


# --- generations --------------------------------------------------------------------------------------------


@mutant(RESTORE, LATE, ALL)
def no_generation() -> Iterator[None]:
    """Frames of any generation are accepted."""
    of_worker, of_gateway = Engine.receive, PendingMap.receive

    def worker(self: Engine, message: wire.Data, now: float) -> list[Effect]:
        return of_worker(self, message._replace(generation=self.identity.generation), now)

    def gateway(self: PendingMap[Any], message: wire.Data, now: float, outcomes: list[Any]) -> list[Effect]:
        return of_gateway(self, message._replace(generation=self.identity.generation), now, outcomes)

    with replaced(Engine, "receive", worker), replaced(PendingMap, "receive", gateway):
        yield


@mutant(RESTORE, RESCALE)
def numbers_go_on_in_a_new_generation() -> Iterator[None]:
    def change_generation(self: PendingMap[Any], generation: int, workers: int) -> None:
        before = self._by_name
        original(self, generation, workers)
        for link in self._links:
            if link.peer in before:
                link.inbound, link.outbound = before[link.peer].inbound, before[link.peer].outbound

    original = PendingMap.change_generation
    with replaced(PendingMap, "change_generation", change_generation):
        yield


@mutant(RESTORE, RESCALE)
def outboxes_sent_instead_of_taken_in() -> Iterator[None]:
    """What was undelivered goes into the outbox of another worker to the new owner, which is sent."""

    def closing_items(self: Reshard) -> Iterator[tuple[int, bytes, bytes]]:
        workers = self._plan.workers
        moved: dict[tuple[int, int], list[bytes]] = {}
        for worker, key, value in original(self):
            if key.startswith(layout.OUTBOX) and workers > 1:
                moved.setdefault(((worker + 1) % workers, worker), []).append(value)
            elif key != layout.CHANNELS or workers == 1:
                yield worker, key, value
            else:
                own = [link for link in wire.unpack(value) if not link[0].startswith("w")]
                owner = (worker - 1) % workers
                records = moved.get((worker, owner), [])
                own.append([worker_name(owner), 0, 0, 0, len(records) + 1])
                own.append([worker_name(worker), 0, 0, 0, 1])
                peer = f"{worker_name(owner)}/0".encode()
                for number, record in enumerate(records, 1):
                    yield worker, layout.outbox_key(peer, number), record
                yield worker, layout.CHANNELS, wire.pack(own)

    original = Reshard.closing_items
    with replaced(Reshard, "closing_items", closing_items):
        yield


@mutant(RESTORE, RESCALE)
def backlog_left_behind() -> Iterator[None]:
    with replaced(Backlog, "_undelivered", lambda self: iter(())):
        yield


@mutant(RESTORE, RESCALE)
def backlog_processed_after_frames() -> Iterator[None]:
    def next_input(self: Engine) -> Any:
        if not self._queue or not self._local:
            return original(self)
        local, self._local = self._local, type(self._local)()
        try:
            return original(self)
        finally:
            self._local = local

    original = Engine._next_input
    with replaced(Engine, "_next_input", next_input):
        yield


@mutant(RESCALE)
def gateway_records_not_filtered() -> Iterator[None]:
    """A gateway numbers again what it has no acknowledgement of, committed or not."""

    original = Gateway.change

    def change(self: Gateway, generation: int, job: Job, workers: Iterable[Worker]) -> None:
        unacknowledged = [record for link in self.map._links for _, record in link.outbound.remaining()]
        original(self, generation, job, workers)
        for record in map(wire.decode_record, unacknowledged):
            home = job.home(TOTAL, record.key or b"")
            moved = record._replace(stage=job.numbers[TOTAL], subtask=home.subtask)
            self.map._links[home.worker].outbound.append(wire.pack(moved))

    with (
        replaced(PendingMap, "drained", property(lambda self: True)),
        replaced(Gateway, "change", change),
    ):
        yield


@mutant(RESCALE)
def answers_lost_on_the_way_to_gateways() -> Iterator[None]:
    """Workers stop although gateways have not heard all that was for them."""
    with replaced(Engine, "drained", property(lambda self: True)):
        yield


@mutant(ALL)
def rescaled_through_a_snapshot() -> Iterator[None]:
    """The state that is re-sharded is that of the latest snapshot."""

    def sources(self: changeover.Changeover) -> Sequence[Any]:
        snapshots = self._world.store.complete
        if not snapshots or snapshots[-1].job is not self._old:
            return original(self)
        self._drafts = None
        return self._world.store.readers(snapshots[-1])

    original = changeover.Changeover._sources
    with replaced(changeover.Changeover, "_sources", sources):
        yield


@mutant(RESCALE, UPGRADE)
def tail_forgotten() -> Iterator[None]:
    """What was copied ahead counts: nobody adds what the old workers have done since."""

    def add_tails(self: changeover.Changeover, sources: Sequence[Any], drafts: Sequence[Any]) -> None:
        """Nothing."""

    with replaced(changeover.Changeover, "_add_tails", add_tails):
        yield


@mutant(RESTORE, RESCALE)
def positions_of_collections_forgotten() -> Iterator[None]:
    with replaced(Reshard, "_collections", lambda self, channels: iter(())):
        yield


@mutant(RESTORE, RESCALE)
def switch_not_durable() -> Iterator[None]:
    """After everything has died the generation before is found again."""

    def switch(self: Folder, job: Any, disks: Sequence[Any]) -> None:
        self.__dict__.setdefault("_before", []).append((self.generation, self.job, self.disks))
        original(self, job, disks)

    def everybody_dies(self: World, **options: bool) -> None:
        die(self, **options)
        before = self.folder.__dict__.pop("_before", None)
        if before:
            self.folder.generation, self.folder.job, self.folder.disks = before[0]
            for gateway in self.gateways:
                gateway.generation, gateway.job = self.folder.generation, self.folder.job

    original, die = Folder.switch, World._everybody_dies
    with replaced(Folder, "switch", switch), replaced(World, "_everybody_dies", everybody_dies):
        yield


@mutant(UPGRADE)
def probe_not_forgotten() -> Iterator[None]:
    """What a gateway has asked workers on trial, it goes on asking those that come after them."""
    with replaced(Gateway, "forget_probe", lambda self: None):
        yield

"""The worker's machine: frames in, batches through the tasks, one commit record, then frames out.

What it owns: the channels, the input queue, the batch, the commit. What it never does: touch a socket, a
file or a clock (``effects`` go out, time comes in). Who calls it: the worker's loop, the local runner, the
test harness and the simulation, all in the same way::

    effects = engine.receive(message, now)      # any number of times
    effects = engine.step(now, now_ms)          # runs one batch; carry the effects out in their order
    engine.flushed()                            # when the table holds what a Flush asked for

One rule carries the promises: the effects of a step are Append, Sync, Send, in this order. Nothing is sent
and nothing is acknowledged before the commit that it rests on is durable.

A second one makes snapshots consistent (Lai and Yang 1987): everything that is sent carries the epoch, and
who hears of a newer one first ends its own, durably, and freezes what it holds then; the message that brought
it is looked at only after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice

from mini_flink import wire
from mini_flink.core import shares
from mini_flink.core.base import (
    Counters,
    Identity,
    Limits,
    Meter,
    NoMeter,
    Progress,
    Ran,
    Root,
    Task,
    Tracer,
    Undertaker,
    source_code,
)
from mini_flink.core.changes import ChangedKeys
from mini_flink.core.effects import Append, Connect, Effect, Flush, Recycle, Send, Sync
from mini_flink.core.links import Link
from mini_flink.core.outputs import Outputs
from mini_flink.errors import CorruptionError, FolderError, RecordError
from mini_flink.ids import gateway_name
from mini_flink.state import layout
from mini_flink.state.overlay import Overlay, Readable

COMMIT_FORMAT = 1
FLUSH_ITEMS = 20_000
"""Changed keys that are flushed at once: the pages they dirty stay in memory as long as the table is open."""
DEAD_LETTER_FLUSH_S = 0.1
"""Dead letters are read from the table by others, so they go there soon."""
MAX_DEFERRED = 1024
"""Messages of a newer epoch that wait for this worker's own; what is over it comes again."""
WAITING_SCAN = 2048
"""Records of each queue that are looked at to tell which stages they wait for."""


@dataclass(slots=True)
class _Feed:
    """A source without requests: its elements are numbered inputs, and their position is committed."""

    link: Link
    elements: Iterator[wire.Record]


class Engine:
    """One worker. ``tasks`` are set before the first step; they keep state in ``overlay`` and send through
    ``outputs``.
    """

    def __init__(
        self,
        identity: Identity,
        workers: Iterable[str],
        gateways: Iterable[str],
        table: Readable,
        *,
        limits: Limits,
        progress: Progress,
        undertaker: Undertaker,
        clock: Callable[[], float],
        durable: bool = True,
        poison: tuple[int, int, int] | None = None,
        meter: Meter | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.identity = identity
        self.overlay = Overlay(table)
        self.outputs = Outputs(limits.commit_limit_bytes)
        self.counters = Counters()
        self.epoch = 0
        self.changed = ChangedKeys()
        self.commit_number = 0
        self.storage_full = False
        self.paused = False
        self.tasks: Mapping[int, Task] = {}
        self._limits = limits
        self._progress = progress
        self._undertaker = undertaker
        self._clock = clock
        self.durable = durable
        self.meter = meter or NoMeter()
        self._tracer = tracer
        self._is_traced = False
        self._contexts: dict[tuple[str, int, int], tuple[bytes, float]] = {}
        self._poison = poison
        self._table = table
        self._links: dict[str, Link] = {}
        for name in workers:
            self._add_link(name)
        for name in gateways:
            self._add_link(name, is_gateway=True)
        self._home = self._links[identity.name]
        self._workers = [self._links[name] for name in workers]
        self._gateways = [self._links[name] for name in gateways]
        self._queue: deque[tuple[Link, int, int, bytes, float]] = deque()
        self._local: deque[tuple[int, wire.Record, Root, float]] = deque()
        self._clocked = 0.0
        self._root: Root = (0, 0, 0)
        self._feeds: list[_Feed] = []
        self._changed: dict[str, Link] = {}
        self._returns: dict[tuple[int, int], shares.Returns] = {}
        self._batch_bytes = 0
        self._wanted_epoch = 0
        self._deferred: list[wire.Data] = []
        self._flushes: deque[Flush] = deque()
        self._flush_due_s: float | None = None
        self._unsaved_bytes = 0
        self._flush_soon = False

    def _add_link(self, name: str, *, is_gateway: bool = False) -> Link:
        link = Link(name, self._limits.channel_window_bytes, self._table.get, is_gateway=is_gateway)
        self._links[name] = link
        return link

    # --- recovery ---------------------------------------------------------------------------------------

    def recover(self, commit_number: int, log: Iterable[tuple[int, bytes]]) -> None:
        """Take over what table and log hold.

        Call it before anything else. There is one recovery for every crash, and it runs no user code.
        """
        self.commit_number = commit_number
        self.epoch = int.from_bytes(self._table.get(layout.EPOCH) or b"", "big")
        channels = self._table.get(layout.CHANNELS)
        if channels is not None:
            for peer, session, position, acked, next in wire.unpack(channels):
                self._link(peer).take_over(session, position, acked, next)
        for number, payload in log:
            self._redo(number, payload)
        self.overlay.rebuild_members(layout.entry_prefix)
        self._wanted_epoch = self.epoch
        self._forget_gateways_without_slot()
        self._drop_stale_outbox()
        home = self._home
        home.processed = home.outbound.acked
        now = self._clock()
        for number, data in home.outbound.remaining():
            self._local.append((number, wire.decode_record(data), self._home_root(number), now))

    def _redo(self, number: int, payload: bytes) -> None:
        form, generation, _incarnation, epoch, links, outputs, changes, _timers = wire.unpack(payload)
        expected = (COMMIT_FORMAT, self.identity.generation, self.commit_number + 1)
        if (form, generation, number) != expected:
            raise CorruptionError(
                f"commit {number} does not belong here: format {form}, generation {generation}, "
                f"after commit {self.commit_number}"
            )
        self.commit_number = number
        self.epoch = epoch
        for peer, session, position, acked, _next in links:
            self._link(peer).redo(session, position, acked)
        for peer, first, records in outputs:
            self._link(peer).redo_output(first, records)
            self._unsaved_bytes += sum(map(len, records))
        for peer, _session, _position, _acked, next in links:
            self._link(peer).redo_next(next)
        self.overlay.apply(changes)

    def _home_root(self, number: int) -> Root:
        return source_code(self.identity.name), 0, number

    def _link(self, peer: str) -> Link:
        link = self._links.get(peer)
        return self._add_link(peer, is_gateway=peer.startswith("g")) if link is None else link

    def _forget_gateways_without_slot(self) -> None:
        """There are fewer gateways than there were: nobody waits for what was to be sent to the others."""
        for link in self._links.values():
            if link.is_gateway and link not in self._gateways:
                link.outbound.acknowledge(link.outbound.next - 1, 0.0)

    def _drop_stale_outbox(self) -> None:
        """Outbox records of dead gateways and slots that are gone, left by a crash before their removal."""
        live = {
            layout.outbox_key(f"{link.peer}/{link.session}".encode(), 0)[:-8]: link.outbound
            for link in self._links.values()
        }
        stale: dict[bytes, bytes | None] = {}
        for key, _ in self._table.scan(layout.OUTBOX):
            outbound = live.get(key[:-8])
            if outbound is None or not outbound.acked < int.from_bytes(key[-8:], "big") < outbound.next:
                stale[key] = None
        if stale:
            self.overlay.apply(stale)

    def check_deliverable(self, stages: Collection[int], uids: Mapping[int, str]) -> None:
        """FolderError if something undelivered is for an operator that the job does not have any more."""
        outbounds = [link.outbound for link in self._links.values() if not link.is_gateway]
        waiting = {
            wire.decode_record(data).stage for outbound in outbounds for _, data in outbound.remaining()
        }
        lost = sorted(uids.get(stage, f"number {stage}") for stage in waiting - set(stages))
        if lost:
            raise FolderError(
                f"records are still to be delivered to {', '.join(map(repr, lost))}, where no stage of the "
                "job begins any more",
                help="start the job as it was once, let it finish its work, then change it",
            )

    def fed(self, name: str) -> int:
        """How many elements of a source without requests are committed."""
        return self._link(name).inbound.committed

    def add_feed(self, name: str, stage: int, elements: Iterator[bytes]) -> None:
        """A source without requests feeds ``stage``; those of its elements that are committed are skipped."""
        link = self._link(name)
        rest = islice(elements, link.inbound.committed, None)
        records = (wire.Record(stage, 0, None, value, *wire.NO_ORIGIN, 0, 0) for value in rest)
        self._feeds.append(_Feed(link, records))

    # --- messages in ------------------------------------------------------------------------------------

    def hello(self) -> list[Effect]:
        """The first messages of this incarnation: its position to every peer, and where it listens."""
        known = [link for link in self._links.values() if link.incarnation and link is not self._home]
        for link in known:
            link.flags |= wire.RESEND
        return [self._message(link, 0, [], self.identity.endpoint) for link in known]

    def meet(self, peer: str, incarnation: int, endpoint: str) -> list[Effect]:
        """The supervisor (or the peer itself) says where ``peer`` listens now."""
        link = self._links.get(peer)
        if link is None or link is self._home or incarnation <= link.incarnation:
            return []
        link.incarnation = incarnation
        link.endpoint = endpoint
        if link.is_gateway:
            self._new_session(link, incarnation)
        link.outbound.rewind(link.outbound.acked)
        link.owes_position = True
        return [Connect(peer, endpoint)]

    def receive(self, message: wire.Data, now: float) -> list[Effect]:
        """Take a data message in: its records into the queue, its position into the outbox."""
        link = self._links.get(message.sender)
        if link is None or message.generation != self.identity.generation:
            self.counters.fenced += 1
            return []
        if message.epoch > self.epoch:
            self.hear_of_epoch(message.epoch)
            if len(self._deferred) < MAX_DEFERRED:
                self._deferred.append(message)
            return []
        effects: list[Effect] = []
        if message.incarnation > link.incarnation and message.endpoint:
            effects = self.meet(message.sender, message.incarnation, message.endpoint)
        if message.incarnation != link.incarnation:
            self.counters.fenced += 1
            return effects
        if link.is_gateway and not self._new_session(link, message.session):
            return effects
        if message.endpoint:  # a hello: its sender may not have heard of this incarnation, or generation
            link.owes_position = True
        self._take_position(link, message, now)
        if message.records:
            self._take_records(link, message, now)
        return effects

    def _new_session(self, link: Link, session: int) -> bool:
        if session == link.session:
            return True
        if not link.hear_of(session):
            return False
        self._queue = deque(item for item in self._queue if item[0] is not link)
        self._contexts = {place: waits for place, waits in self._contexts.items() if place[0] != link.peer}
        self._changed[link.peer] = link
        return True

    def _take_position(self, link: Link, message: wire.Data, now: float) -> None:
        if link.outbound.acknowledge(message.position, now):
            self._changed[link.peer] = link
        if message.flags & wire.RESEND:
            link.outbound.rewind(message.position)

    def _take_records(self, link: Link, message: wire.Data, now: float) -> None:
        inbound = link.inbound
        first, records = inbound.accept(message.first, message.records)
        if not records:
            link.owes_position = True
            if inbound.gap_to_report(message.first):
                link.flags |= wire.RESEND
            return
        session = link.session
        self._queue.extend(
            (link, session, number, record, now) for number, record in enumerate(records, first)
        )
        if message.traces and self._tracer is not None:
            for index, context in message.traces:
                if (number := message.first + index) >= first:
                    self._contexts[link.peer, session, number] = context, now

    # --- snapshots --------------------------------------------------------------------------------------

    def hear_of_epoch(self, epoch: int) -> None:
        """The supervisor (or a peer) has begun an epoch: the next step ends this worker's own."""
        self._wanted_epoch = max(self._wanted_epoch, epoch)

    def _turn_epoch(self, now: float) -> list[Effect]:
        """End the old epoch: it is durable, with what is frozen as this worker's part of the new one."""
        self.epoch = self._wanted_epoch
        effects: list[Effect] = [self._seal()]
        if self.durable:
            effects.append(Sync())
        effects.append(self.freeze(snapshot=self.epoch))
        deferred, self._deferred = self._deferred, []
        for message in deferred:
            effects += self.receive(message, now)
        return effects

    def track_changes(self, label: str) -> None:
        """From now on ``changed.since(label)`` tells what the table, as others see it, may lack."""
        self.changed.mark(label, (key for flush in self._flushes for key in flush.items))

    # --- coming to a stand ------------------------------------------------------------------------------

    @property
    def drained(self) -> bool:
        """Whether gateways have all that was for them; while paused that comes about and stays."""
        return all(link.outbound.acked + 1 == link.outbound.next for link in self._gateways)

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits here, and all that went out is committed where it went."""
        if self._local or self._queue or self._feeds or self._deferred:
            return False
        others = [link for link in self._workers if link is not self._home]
        return self.drained and all(link.outbound.acked + 1 == link.outbound.next for link in others)

    def forget_gateways_but(self, names: Collection[str]) -> None:
        """Nobody is in the other slots: what is for them, or comes to be, holds nothing up."""
        self._gateways = [link for link in self._gateways if link.peer in names]
        self._forget_gateways_without_slot()

    def forget_backlog(self) -> None:
        """A trial on state that will be thrown away runs nothing but what it is asked."""
        self._local.clear()

    # --- one batch --------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether a step would run a record."""
        return bool(self._local or self._queue or self._feeds) and not self.stalled

    @property
    def stalled(self) -> bool:
        """No batch may run now: told so, no space for its commit, or memory is full until a flush is done."""
        return self.storage_full or self.paused or (bool(self._flushes) and self._over_limit())

    def _over_limit(self) -> bool:
        return self.overlay.active_bytes + self._unsaved_bytes > self._limits.overlay_bytes

    def step(self, now: float, now_ms: int) -> list[Effect]:
        """Run a batch if there is something to run; commit it; send what is due."""
        effects: list[Effect] = []
        if self._wanted_epoch > self.epoch and len(self._flushes) < 2 and not self.storage_full:
            effects = self._turn_epoch(now)
        if self.has_work and self._run_batch(now, now_ms):
            effects.append(self._seal())
            if self.durable:
                effects.append(Sync())
            self._plan_flush(now)
        self._send_due(effects, now)
        self._maybe_flush(effects, now)
        return effects

    def _plan_flush(self, now: float) -> None:
        due_s = now + (DEAD_LETTER_FLUSH_S if self._flush_soon else self._limits.flush_interval_s)
        self._flush_soon = False
        if self._flush_due_s is None or due_s < self._flush_due_s:
            self._flush_due_s = due_s

    def _run_batch(self, now: float, now_ms: int) -> bool:
        limits, clock = self._limits, self._clock
        handle = self._handle_traced if self._contexts else self._handle
        until = now + limits.batch_s
        ran: list[Ran] = []
        self._batch_bytes = 0
        began = self._clocked = clock()
        while (item := self._next_input()) is not None:
            link, root, number, record, arrived = item
            handle(link, root, number, record, now_ms)
            self._clocked = clocked = clock()
            ran.append((record.stage, record.subtask, arrived, clocked))
            if (
                len(ran) >= limits.batch_records
                or self._batch_bytes >= limits.batch_bytes
                or clocked >= until
            ):
                break
        self._progress.idle()
        self.counters.records_in += len(ran)
        self.counters.batches += 1
        self.meter.batch(began, ran)
        return bool(ran)

    def _next_input(self) -> tuple[Link, Root, int, wire.Record, float] | None:
        """The next record: what this worker sent itself goes first, so that it never piles up.

        With it comes its root, by which it is known after a crash: its own number, or for what this batch
        sent itself that of the input it comes from, since numbers that are not committed may come to others.
        Last comes when it arrived.
        """
        if self._local:
            number, record, root, arrived = self._local.popleft()
            return self._home, root, number, record, arrived
        if self._queue:
            link, session, number, data, arrived = self._queue.popleft()
            self._batch_bytes += len(data)
            root = source_code(link.peer), session, number
            return link, root, number, wire.decode_record(data), arrived
        while self._feeds:
            feed = self._feeds[0]
            fed = next(feed.elements, None)
            if fed is not None:
                number = feed.link.processed + 1
                return feed.link, (source_code(feed.link.peer), 0, number), number, fed, self._clocked
            self._feeds.pop(0)
        return None

    def _handle(self, link: Link, root: Root, number: int, record: wire.Record, now_ms: int) -> None:
        link.processed = number
        self._changed[link.peer] = link
        self._root = root
        self._progress.begin(*root, record.stage)
        if link.is_gateway and record.gateway >= 0 and record.deadline_ms < now_ms:
            self.counters.expired += 1
            if self._is_traced and self._tracer is not None:
                self._tracer.expired()
            self._give_back(record)
        elif self._poison == root:
            self._fail(record, RecordError("it killed its worker at three starts in a row"), now_ms)
        else:
            self._run(record, now_ms)

    def _handle_traced(self, link: Link, root: Root, number: int, record: wire.Record, now_ms: int) -> None:
        """The same in a batch with records of traces, to which belongs what they put out."""
        waited = self._contexts.pop((link.peer, link.session, number), None)
        if waited is None or self._tracer is None:
            self._handle(link, root, number, record, now_ms)
            return
        context, arrived = waited
        first = [worker.outbound.next for worker in self._workers]
        with self._tracer.record(
            context, record, self._clocked - arrived, self.commit_number + 1
        ) as passed_on:
            self._is_traced = True
            self._handle(link, root, number, record, now_ms)
            self._is_traced = False
        now = self._clock()
        for worker, before in zip(self._workers, first, strict=True):
            for new in range(before, worker.outbound.next):
                if worker is self._home:
                    self._contexts[worker.peer, worker.session, new] = passed_on, now
                else:
                    worker.outbound.trace(new, passed_on)

    def _run(self, record: wire.Record, now_ms: int) -> None:
        self.overlay.mark()
        self.outputs.clear()
        try:
            if record.subtask == wire.FAILED_BEFORE_ROUTING:
                raise RecordError("its key selector raised in the gateway")
            self.tasks[record.stage].process(record.subtask, record.key, record.value, record.origin)
            self.outputs.check_size(self.overlay.record_bytes)
        except RecordError as error:
            self.overlay.undo()
            self._fail(record, error, now_ms)
        else:
            self._finish(record)

    # --- what a record puts out ---------------------------------------------------------------------------

    def _finish(self, record: wire.Record) -> None:
        emitted, replied = self.outputs.emitted, self.outputs.replied
        parts = len(emitted) + len(replied)
        if parts == 1:
            each, last, level = record.share, record.share, record.level
        elif parts:
            each, last, level = shares.split(record.share, record.level, parts) if record.share else (0, 0, 0)
        else:
            self._give_back(record)
            return
        header = record[4:9]
        for output in emitted:
            parts -= 1
            self._send_record(wire.Record(*output, *header, each if parts else last, level))
        for reply in replied:
            parts -= 1
            share = each if parts else last
            self._answer(record, (wire.REPLY, record.request, share, level, *reply))

    def _send_record(self, record: wire.Record) -> None:
        link = self._workers[record.subtask % len(self._workers)]
        number = self._append(link, wire.pack(record))
        if link is self._home:
            self._local.append((number, record, self._root, self._clocked))

    def _answer(self, record: wire.Record, answer: tuple[object, ...]) -> None:
        link = self._links.get(gateway_name(record.gateway))
        if link is None or not self._new_session(link, record.incarnation):
            self.counters.dropped_outputs += 1
            return
        self._append(link, wire.pack(answer))

    def _append(self, link: Link, data: bytes) -> int:
        self._changed[link.peer] = link
        self._unsaved_bytes += len(data)
        self.counters.records_out += 1
        return link.outbound.append(data)

    def _give_back(self, record: wire.Record) -> None:
        if record.gateway >= 0:
            sender = (record.gateway, record.incarnation)
            returns = self._returns.get(sender)
            if returns is None:
                returns = self._returns[sender] = shares.Returns()
            returns.add(record.request, record.share, record.level)

    def _fail(self, record: wire.Record, error: RecordError, now_ms: int) -> None:
        """A dead letter, and the 500 with all of the record's share, in this commit."""
        error_id, operator, letter, detail = self._undertaker.bury(record, error, now_ms)
        self.overlay.put_entry(layout.DEAD_LETTER, layout.DEAD_LETTER + error_id.encode(), letter)
        self._flush_soon = True
        self.counters.dead_letters += 1
        if self._is_traced and self._tracer is not None:
            self._tracer.failed(error, error_id)
        if record.gateway >= 0:
            answer = (wire.FAILURE, record.request, record.share, record.level, error_id, operator)
            self._answer(record, answer if detail is None else (*answer, detail))

    def dead_letters(self) -> list[tuple[bytes, bytes]]:
        """All that this worker holds, by their place in the table, as of the last commit."""
        return self.overlay.scan(layout.DEAD_LETTER)

    def settle_letters(self, letters: Mapping[bytes, wire.Record | None], now: float) -> list[Effect]:
        """Remove dead letters, and give the record of each that has one to its stage again, in one commit.

        To be called between two steps. Nobody waits for what such a record replies.
        """
        self._clocked = now  # they come now
        for key, record in letters.items():
            if record is not None:
                self._send_record(record)
            self.overlay.delete_entry(layout.DEAD_LETTER, key)
        self._flush_soon = True
        effects: list[Effect] = [self._seal()]
        if self.durable:
            effects.append(Sync())
        self._plan_flush(now)
        return effects

    # --- commit -----------------------------------------------------------------------------------------

    def _seal(self) -> Append:
        for (gateway, incarnation), returns in self._returns.items():
            link = self._links.get(gateway_name(gateway))
            if link is not None and self._new_session(link, incarnation):
                self._append(link, wire.pack((wire.COMPLETION, returns.entries())))
        self._returns.clear()
        links, outputs = [], []
        for link in self._changed.values():
            self._commit_position(link)
            links.append([link.peer, *link.durable_state()])
            new = link.new_outputs()
            if new is not None:
                outputs.append([link.peer, *new])
        self._changed.clear()
        if self._local:  # committed with this batch: from here on their own numbers stand
            self._local = deque(
                (number, record, self._home_root(number), arrived)
                for number, record, _, arrived in self._local
            )
        self.commit_number += 1
        self.counters.commits += 1
        who = self.identity
        changes = self.overlay.take_batch()
        timers: list[bytes] = []
        commit = (COMMIT_FORMAT, who.generation, who.incarnation, self.epoch, links, outputs, changes, timers)
        return Append(self.commit_number, wire.pack(commit))

    def _commit_position(self, link: Link) -> None:
        if link is self._home:
            link.outbound.acknowledge(link.processed, 0.0)
        if link.processed > link.inbound.committed:
            link.inbound.committed = link.processed
            link.owes_position = True

    # --- messages out -----------------------------------------------------------------------------------

    def _send_due(self, effects: list[Effect], now: float) -> None:
        for link in self._links.values():
            if link is self._home or not link.incarnation:
                continue
            outbound = link.outbound
            while (frame := outbound.frame(now)) is not None:
                effects.append(self._message(link, *frame))
            if (frame := outbound.overdue_frame(now)) is not None:
                # The peer may have missed who this is: a message like the first one.
                effects.append(self._message(link, *frame, self.identity.endpoint))
            if link.owes_position or link.flags:
                effects.append(self._message(link, 0, []))

    def _message(self, link: Link, first: int, records: list[bytes], endpoint: str = "") -> Send:
        flags = link.flags | (wire.STORAGE_FULL if self.storage_full else 0)
        link.flags = 0
        link.owes_position = False
        return self._data(link, first, records, link.inbound.committed, flags, endpoint)

    def _data(
        self, link: Link, first: int, records: list[bytes], position: int, flags: int, endpoint: str
    ) -> Send:
        who, outbound = self.identity, link.outbound
        traces = outbound.traces(first, len(records)) if outbound.contexts else ()
        message = wire.encode_data(
            who.generation, who.name, who.incarnation, self.epoch, link.session, first, records, position,
            flags, endpoint, traces,
        )  # fmt: skip
        return Send(link.peer, message)

    def refusals(self) -> list[Send]:
        """No space for the last commit: the gateways are told although its messages must wait for it.

        Its positions count as committed here and are not durable yet, so these messages acknowledge nothing.
        """
        met = [link for link in self._gateways if link.incarnation]
        return [self._data(link, 0, [], 0, wire.STORAGE_FULL, "") for link in met]

    def set_storage_full(self, full: bool) -> None:
        """No space for a commit (or again some): the gateways are told with the next message."""
        if full != self.storage_full:
            self.storage_full = full
            for link in self._gateways:
                link.owes_position = True

    # --- flush ------------------------------------------------------------------------------------------

    def _maybe_flush(self, effects: list[Effect], now: float) -> None:
        if self._flushes:
            return
        due = self._flush_due_s is not None and now >= self._flush_due_s
        if due or self.overlay.active_items >= FLUSH_ITEMS or self._over_limit():
            effects.append(self.freeze())

    def freeze(self, snapshot: int = 0) -> Flush:
        """Freeze the overlay; what the table is to be told, as of this commit.

        One flush at a time, and behind it that of a ``snapshot``'s epoch, which does not wait for its end.
        """
        if len(self._flushes) > (1 if snapshot else 0):
            raise RuntimeError("a layer is still being flushed")
        items: dict[bytes, bytes | None] = dict(self.overlay.freeze())
        self.changed.note(items)
        if snapshot:
            self.changed.mark(snapshot)
        for link in self._links.values():
            items.update(link.flush_items())
        channels = [[link.peer, *link.durable_state()] for link in self._links.values()]
        items[layout.CHANNELS] = wire.pack(channels)
        if self.epoch:
            items[layout.EPOCH] = self.epoch.to_bytes(8, "big")
        self._changed.clear()  # what was acknowledged since the last commit is in the channels' state
        self._unsaved_bytes = 0
        self._flush_due_s = None
        flush = Flush(items, self.commit_number, snapshot)
        self._flushes.append(flush)
        return flush

    def flushed(self) -> list[Effect]:
        """The table holds the oldest frozen layer, and its view was renewed."""
        if not self._flushes:
            raise RuntimeError("nothing was being flushed")
        number = self._flushes.popleft().number
        self.overlay.drop_frozen()
        if not self._flushes:
            for link in self._links.values():
                link.flushed()
        return [Recycle(number)]

    @property
    def clean(self) -> bool:
        """Whether the table holds everything that is committed."""
        pending = self._flushes or self._flush_due_s is not None or self._changed
        return not pending and not self.overlay.dirty

    def due_s(self) -> float | None:
        """When ``step`` is to be called next if no message comes before; None: no need."""
        times = [link.outbound.due_s() for link in self._links.values() if link is not self._home]
        if not self._flushes:
            times.append(self._flush_due_s)
        return min((time for time in times if time is not None), default=None)

    def statistics(self) -> dict[str, int]:
        """What happened since this incarnation began."""
        links = [link for link in self._links.values() if link is not self._home]
        return {
            **asdict(self.counters),
            "resends": sum(link.resent for link in links),
            "duplicates": sum(link.duplicates for link in links),
            "gaps": sum(link.gaps for link in links),
        }

    @property
    def backlog(self) -> int:
        """Records that wait for their turn."""
        return len(self._queue) + len(self._local)

    def waiting(self) -> dict[int, tuple[int, float]]:
        """Per stage: how many records wait for it, and when the oldest of them came.

        A long queue is looked at in part, and what is seen of it stands for the rest.
        """
        found: dict[int, tuple[int, float]] = {}
        looked = [(record.stage, arrived) for _, record, _, arrived in islice(self._local, WAITING_SCAN)]
        looked += [(wire.stage_of(data), arrived) for *_, data, arrived in islice(self._queue, WAITING_SCAN)]
        for stage, arrived in looked:
            number, oldest = found.get(stage, (0, arrived))
            found[stage] = number + 1, min(oldest, arrived)
        share = self.backlog / max(1, len(looked))
        return {stage: (round(number * share), oldest) for stage, (number, oldest) in found.items()}

    def gauges(self) -> dict[str, int]:
        """How things stand now."""
        links = self._links.values()
        return {
            "pending": self.backlog,
            "overlay_bytes": self.overlay.active_bytes + self._unsaved_bytes,
            "outbox_records": sum(link.outbound.next - 1 - link.outbound.acked for link in links),
            "storage_full": int(self.storage_full),
        }

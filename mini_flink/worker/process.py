"""The worker process: reads its specification, builds the job, recovers, serves until it is told to stop.

One loop owns everything. It sleeps on the transport, the pipe that ends with the supervisor, and the end of
background work. Called as ``python -m mini_flink.worker SPEC``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

from mini_flink import console, faults, wire
from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.core.base import Identity
from mini_flink.errors import (
    EXIT_STORAGE,
    IncompatibleError,
    MiniFlinkError,
    StorageError,
    StorageFullError,
)
from mini_flink.failures import render_error, render_running
from mini_flink.faults import crash_point
from mini_flink.graph import JobGraph
from mini_flink.ids import SUPERVISOR
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.locks import FolderLock
from mini_flink.metrics import Publisher, Registry, beside
from mini_flink.pinned import PinnedSources
from mini_flink.progress import Page
from mini_flink.spec import PAUSED, TRIAL, ProcessSpec, check_fingerprint
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.tracing.opening import open_tracing
from mini_flink.transport.zmq import ZmqTransport
from mini_flink.worker import keyed, letters
from mini_flink.worker.background import ThreadBackground
from mini_flink.worker.host import Capture
from mini_flink.worker.meter import STATE_BYTES
from mini_flink.worker.snapshots import Order, WorkerSnapshots
from mini_flink.worker.spare import called
from mini_flink.worker.tails import write_tail
from mini_flink.worker.trial import trial_devices
from mini_flink.worker.worker import Devices, Place, Worker

POISON_DEATHS = 3
PUBLISH_INTERVAL_S = 0.25
RECEIVE_LIMIT = 64
LAST_WORD_MS = 1000
SPACE_RETRY_MS = 1000

Look = Callable[[Worker, Mapping[str, Any], float], dict[str, Any]]
LOOKS: Mapping[str, Look] = {
    "dead_letters": lambda worker, question, now: letters.look(
        worker.host, worker.place.index, question, now
    ),
    "state": keyed.look,
}
"""Who answers which question of ``supervisor.questions``, with the time."""


class WorkerProcess:
    """One worker, from its specification to its end."""

    def __init__(self, spec: ProcessSpec, graph: JobGraph | None) -> None:
        self._spec = spec
        self._graph = graph
        self._settings = Settings.from_dict(spec.settings)
        self._stopping = False
        self._finishing: dict[str, Any] | None = None
        self._draining: dict[str, Any] | None = None
        self._label = ""
        self._published_s = 0.0
        self._published_records = -1
        self._published_commit = -1
        self._transport = ZmqTransport()
        self._transport.bind(spec.endpoint)
        self._transport.connect(SUPERVISOR, spec.supervisor_endpoint)

    def run(self) -> int:
        """Serve; the exit code. What keeps it from starting ends the server, what happens later only this."""
        try:
            self._open()
        except MiniFlinkError as error:
            told = {"text": render_error(error), "exit_code": error.exit_code}
            if isinstance(error, IncompatibleError):
                told["unfit"] = error.message
            self._tell(wire.FAILED, told)
            self._transport.close(linger_ms=LAST_WORD_MS)
            return error.exit_code
        try:
            self._loop()
            clean = self._close()
        except MiniFlinkError as error:
            console.event("error", render_error(error), name="worker.failed", error=type(error).__name__)
            return error.exit_code
        self._transport.close()
        return 0 if clean else EXIT_STORAGE

    def _open(self) -> None:
        spec = self._spec
        graph = self._graph or load_graph(
            JobTarget.from_dict(spec.job), quiet=True, sources=PinnedSources.read(spec.sources)
        )
        console.install_logging()
        check_fingerprint(spec, graph)
        plan = plans.build(graph, spec.workers, spec.numbers, spec.parallelisms)
        self._lock = FolderLock.evict(str(Path(spec.folder or "") / "lock"))
        self._page = Page(spec.page_path, spec.incarnation)
        metrics = Registry(lambda text: console.event("warn", text, name="metrics.unpublished"))
        metrics.asking = self._page.ask
        self._publisher = Publisher(beside(spec.page_path), metrics)
        self._state_bytes = metrics.gauge(STATE_BYTES, help="What the table takes of its file.")
        self._tracing = (
            None
            if spec.mode == TRIAL
            else open_tracing(self._settings, plan.job_name, spec.name, spec.incarnation, console.event)
        )
        self._background = ThreadBackground()
        self._devices = self._open_devices()
        self._worker = Worker(
            Identity(spec.name, spec.incarnation, spec.generation, spec.endpoint),
            self._place(),
            plan,
            self._settings,
            self._devices,
            self._page,
            console.event,
            self._captured,
            metrics,
            self._tracing,
        )
        self._told_failure: dict[str, Any] | None = None
        self._copying = ThreadBackground()
        self._snapshots = WorkerSnapshots(
            spec.index, spec.data_dir, self._worker.engine.changed, self._copying, self._tell_part
        )
        self._worker.engine.paused = spec.mode == PAUSED
        self._worker.recover()
        redone = self._secure()
        self._worker.open()
        ready = {"redone": redone, "pid": os.getpid(), "warnings": self._warnings()}
        self._tell(wire.READY, ready)
        # Told first: once the gateways have been greeted they let requests in.
        self._worker.greet(spec.peers)

    def _secure(self) -> int:
        """Make what was recovered durable, waiting for space if there is none: it is safe meanwhile."""
        while True:
            try:
                return self._worker.secure()
            except StorageFullError as error:
                console.event("error", render_error(error), name="storage.full")
            if self._spec.alive_fd in self._transport.wait(SPACE_RETRY_MS, [self._spec.alive_fd]):
                self._orphaned()

    def _warnings(self) -> list[str]:
        return [
            f"operator {uid!r} keeps state and has no uid of its own: a change of the job may change the "
            'generated one, and the start would then be refused. Name it: .uid("…")'
            for uid in self._worker.unnamed_stateful_operators
        ]

    def _open_devices(self) -> Devices:
        spec, settings = self._spec, self._settings
        folder = Path(spec.folder or "")
        self._table = table = LmdbTable(
            folder / "state", map_size_bytes=settings.state_map_bytes, generation=spec.generation
        )
        if spec.mode == TRIAL:
            return trial_devices(table, self._transport, self._background)
        log = FileLog(
            folder / "log",
            segment_bytes=settings.log_segment_bytes,
            durable=settings.durability == "disk",
            generation=spec.generation,
        )
        return Devices(log, table, self._transport, self._background)

    def _place(self) -> Place:
        spec = self._spec
        death = self._page.previous_death()
        poisonous = death is not None and death.deaths >= POISON_DEATHS
        return Place(
            index=spec.index,
            gateways=spec.gateways,
            folder_id=spec.folder_id,
            uids={number: uid for uid, number in spec.numbers.items()},
            boot=spec.boot,
            trial=spec.mode == TRIAL,
            poison=(death.source, death.session, death.number) if death and poisonous else None,
        )

    def _tell(self, kind: int, data: dict[str, Any]) -> None:
        spec = self._spec
        message = wire.encode_control(kind, spec.name, spec.incarnation, spec.generation, data)
        self._transport.send(SUPERVISOR, message)

    # --- snapshots --------------------------------------------------------------------------------------

    def _captured(self, capture: Capture) -> None:
        self._snapshots.captured(capture)

    def _tell_part(self, epoch: int, outcome: dict[str, Any]) -> None:
        self._tell(wire.SNAPSHOT_PART, {"epoch": epoch, **outcome})

    def _take_order(self, data: dict[str, Any]) -> None:
        order = Order(data["epoch"], data["id"], data["location"], data["base"])
        self._worker.engine.hear_of_epoch(order.epoch)
        self._snapshots.order(order)

    # --- from one generation to the next ----------------------------------------------------------------

    def _track(self, data: dict[str, Any]) -> None:
        """From here on changes count for ``label``; those since ``last``, if any, are left to be copied."""
        engine, last, self._label = self._worker.engine, data["last"], data["label"]
        told: dict[str, Any] = {}
        if last:
            told = self._leave(Path(data["folder"]), last)
        engine.track_changes(self._label)
        engine.changed.forget(last)
        crash_point("after_track")
        self._tell(wire.TRACKING, told)

    def _leave(self, folder: Path, label: str) -> dict[str, Any]:
        """Leave the keys that have changed to the resharder; what to tell, which says if it failed."""
        try:
            write_tail(folder, self._spec.index, self._worker.engine.changed.since(label))
        except StorageError as error:
            return {"reason": error.message}
        return {}

    def _finish(self, data: dict[str, Any]) -> None:
        """Run nothing more, and come to a stand."""
        self._finishing = data
        self._worker.engine.paused = True
        self._worker.engine.forget_gateways_but(data["gateways"])

    def _finish_if_drained(self) -> None:
        """Once the gateways have all that was for them: flush, say what has changed, and stand still."""
        order, host = self._finishing, self._worker.host
        if order is None or host.is_held or not host.engine.drained:
            return
        self._finishing = None
        if not host.flush_all():
            return  # no space for it: nobody is told, and after a while everything goes back
        told = self._leave(Path(order["folder"]), order["label"])
        crash_point("after_tail")
        self._tell(wire.FINISHED, told)

    def _go(self) -> None:
        """Run again, or for the first time."""
        self._finishing = None
        self._worker.engine.changed.forget(self._label)
        self._worker.engine.paused = False

    # --- drained by an operator -------------------------------------------------------------------------

    def _drain(self, data: dict[str, Any]) -> None:
        """Say when nothing is left to do; number 0: nobody wants to know any more."""
        self._draining = data if data["number"] else None
        if self._draining:
            self._worker.engine.forget_gateways_but(data["gateways"])

    def _tell_if_at_rest(self) -> None:
        """With how many records it has run: whoever asks twice sees whether it has moved in between."""
        order, host = self._draining, self._worker.host
        if order is None or host.is_held or not host.engine.at_rest or not host.flush_all():
            return
        self._draining = None
        self._publish(time.monotonic())
        self._tell(wire.DRAINED, {"number": order["number"], "ran": host.engine.counters.records_in})

    # --- serving ----------------------------------------------------------------------------------------

    def _loop(self) -> None:
        transport, worker, spec = self._transport, self._worker, self._spec
        engine = worker.engine
        sleep_on = [spec.alive_fd, self._background.fileno(), self._copying.fileno()]
        was_full = False
        while not self._stopping:
            now = time.monotonic()
            for message in transport.receive(RECEIVE_LIMIT):
                self._take(wire.decode(message), now)
            worker.turn(now)
            self._snapshots.turn()
            if engine.storage_full != was_full:
                was_full = engine.storage_full
                _say_storage_full(was_full)
            if now >= self._published_s + PUBLISH_INTERVAL_S:
                self._publish(now)
                self._publish_metrics(now)
            self._finish_if_drained()
            self._tell_if_at_rest()
            if self._stopping or engine.has_work or transport.pending():
                continue
            since_s = time.monotonic()
            if spec.alive_fd in transport.wait(self._timeout_ms(now), sleep_on):
                self._orphaned()
            worker.meter.slept(since_s)

    @staticmethod
    def _orphaned() -> NoReturn:
        """The supervisor is gone: a new one starts a new worker, which redoes what this one logged."""
        console.finish()
        os._exit(0)

    def _timeout_ms(self, now: float) -> int | None:
        due = self._worker.host.due_s(now)
        engine = self._worker.engine
        is_news = self._table.commit_number != self._published_commit
        if is_news or engine.counters.records_in != self._published_records or engine.backlog:
            publish_s = self._published_s + PUBLISH_INTERVAL_S
            due = publish_s if due is None else min(due, publish_s)
        return None if due is None else max(0, int((due - now) * 1000) + 1)

    def _take(self, message: wire.Data | wire.Control, now: float) -> None:
        if isinstance(message, wire.Data):
            self._worker.take(message, now)
        elif message.kind == wire.PEERS:
            self._worker.meet(message.data)
        elif message.kind == wire.SNAPSHOT:
            self._take_order(message.data)
        elif message.kind == wire.SNAPSHOT_END:
            self._snapshots.end(message.data["epoch"], complete=message.data["complete"])
        elif message.kind == wire.TRACK:
            self._track(message.data)
        elif message.kind == wire.FINISH:
            self._finish(message.data)
        elif message.kind == wire.DRAIN:
            self._drain(message.data)
        elif message.kind == wire.GO:
            self._go()
        elif message.kind == wire.LOOK:
            look = LOOKS[message.data["what"]]
            told = look(self._worker, message.data, now)
            self._tell(wire.LOOKED, {"id": message.data["id"], **told})
        elif message.kind == wire.STOP:
            self._stopping = True

    def _publish(self, now: float) -> None:
        engine, page = self._worker.engine, self._page
        self._published_s = now
        self._published_records = engine.counters.records_in
        page.publish(engine.statistics())
        for number, counts in self._worker.operator_counts().items():
            page.publish_operator(number, *counts)
        for gauge, value in engine.gauges().items():
            page.set(gauge, value)
        page.set("log_bytes", self._devices.log.size_bytes)
        console.finish_ended()
        self._worker.undertaker.say_repeats(time.time_ns() // 1_000_000)
        if self._worker.undertaker.last is not self._told_failure:
            self._told_failure = self._worker.undertaker.last
            self._tell(wire.BURIED, dict(self._told_failure or {}))

    def _publish_metrics(self, now: float) -> None:
        self._published_commit = self._table.commit_number
        self._state_bytes.value = self._table.used_bytes
        self._worker.publish(now, self._table.held)
        self._publisher.publish()

    def _close(self) -> bool:
        self._snapshots.close()
        self._publish_metrics(time.monotonic())  # while table and functions, whose gauges it asks, are open
        clean = self._worker.close()
        self._publish(time.monotonic())
        if self._tracing is not None:
            self._tracing.close()
        self._page.idle()
        self._lock.release()
        return clean


def _say_storage_full(full: bool) -> None:
    if full:
        console.event(
            "error",
            "no space left for the next commit: nothing is taken in, clients hear 503, nothing is lost. "
            "It goes on by itself when there is space again",
            name="storage.full",
        )
    else:
        console.event("ok", "there is space again: work goes on", name="storage.free")


def main(argv: list[str]) -> int:
    """Be the worker that the specification in ``argv[1]`` describes, or one that is told later who it is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    setproctitle.setproctitle("mini_flink worker")
    spec, graph = called(argv[1:])
    faults.enable(spec.name)
    setproctitle.setproctitle(f"mini_flink {spec.label}")
    # The supervisor asks a process that hangs where it is.
    console.show_place_on(signal.SIGUSR1, render_running)
    return WorkerProcess(spec, graph).run()

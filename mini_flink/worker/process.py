"""The worker process: reads its specification, builds the job, recovers, serves until it is told to stop.

One loop owns everything. It sleeps on the transport, the pipe that ends with the supervisor, and the end of
background work. Called as ``python -m mini_flink.worker SPEC``.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from mini_flink import console, faults, wire
from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.core.engine import Engine, Identity, Limits
from mini_flink.errors import MiniFlinkError
from mini_flink.failures import FailureLog, render_error
from mini_flink.ids import SUPERVISOR, gateway_name, worker_name
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.locks import FolderLock
from mini_flink.operators.runtime import build_task
from mini_flink.progress import Page
from mini_flink.spec import ProcessSpec, check_fingerprint
from mini_flink.state import lmdb, log
from mini_flink.transport.zmq import ZmqTransport
from mini_flink.worker.background import ThreadBackground
from mini_flink.worker.host import Host
from mini_flink.worker.registry import Registry
from mini_flink.worker.undertaker import Undertaker

POISON_DEATHS = 3
PUBLISH_INTERVAL_S = 0.25
RECEIVE_LIMIT = 64


def limits_of(settings: Settings) -> Limits:
    """The machine's limits, in its units."""
    return Limits(
        batch_records=settings.batch_records,
        batch_bytes=settings.batch_bytes,
        batch_s=settings.batch_ms / 1000,
        commit_limit_bytes=settings.commit_limit_bytes,
        overlay_bytes=settings.overlay_bytes,
        flush_interval_s=settings.flush_interval_ms / 1000,
        channel_window_bytes=settings.channel_window_bytes,
    )


class WorkerProcess:
    """One worker, from its specification to its end."""

    def __init__(self, spec: ProcessSpec) -> None:
        self._spec = spec
        self._settings = Settings.from_dict(spec.settings)
        self._stopping = False
        self._published_s = 0.0
        self._published_records = -1
        self._transport = ZmqTransport()
        self._transport.bind(spec.endpoint)
        self._transport.connect(SUPERVISOR, spec.supervisor_endpoint)

    def run(self) -> int:
        """Serve; the exit code."""
        try:
            self._open()
            self._announce()
            self._loop()
            self._close()
        except MiniFlinkError as error:
            self._tell(wire.FAILED, {"text": render_error(error), "exit_code": error.exit_code})
            return error.exit_code
        finally:
            self._transport.close()
        return 0

    # --- beginning --------------------------------------------------------------------------------------

    def _open(self) -> None:
        spec, settings = self._spec, self._settings
        graph = load_graph(JobTarget.from_dict(spec.job), quiet=True)
        console.install_logging()
        check_fingerprint(spec, graph)
        self._plan = plans.build(graph, spec.workers, spec.numbers)
        folder = Path(spec.folder or "")
        self._lock = FolderLock.evict(str(folder / "lock"))
        self._page = Page(spec.page_path, spec.incarnation)
        self._table = lmdb.LmdbTable(
            folder / "state", map_size_bytes=settings.state_map_bytes, generation=spec.generation
        )
        durable = settings.durability == "disk"
        self._log = log.FileLog(
            folder / "log",
            segment_bytes=settings.log_segment_bytes,
            durable=durable,
            generation=spec.generation,
        )
        self._background = ThreadBackground()
        uids = {number: uid for uid, number in spec.numbers.items()}
        self._undertaker = Undertaker(
            spec.index,
            spec.incarnation,
            spec.folder_id,
            uids,
            FailureLog(full_trace=settings.full_trace),
            lambda text: console.event("error", text),
        )
        self._engine = self._make_engine(durable)
        self._host = Host(self._engine, self._log, self._table, self._transport, self._background)
        self._host.recover()
        self._open_tasks(uids)

    def _make_engine(self, durable: bool) -> Engine:
        spec = self._spec
        death = self._page.previous_death()
        poisonous = death is not None and death.deaths >= POISON_DEATHS
        return Engine(
            Identity(spec.name, spec.incarnation, spec.generation, spec.endpoint),
            [worker_name(index) for index in range(spec.workers)],
            [gateway_name(slot) for slot in range(spec.gateways)],
            self._table,
            limits=limits_of(self._settings),
            progress=self._page,
            undertaker=self._undertaker,
            clock=time.monotonic,
            durable=durable,
            poison=(death.source, death.session, death.number) if death and poisonous else None,
        )

    def _open_tasks(self, uids: dict[int, str]) -> None:
        spec, engine = self._spec, self._engine
        registry = Registry(engine.overlay, self._table, uids, spec.max_parallelism)
        tasks = {
            number: build_task(
                self._plan, stage, spec.index, engine.overlay, registry, engine, folder_id=spec.folder_id
            )
            for number, stage in self._plan.stages.items()
        }
        for task in tasks.values():
            task.open()
        registry.check_complete()
        engine.check_deliverable(self._plan.stages.keys(), uids)
        engine.tasks = tasks
        self._tasks = tasks
        for source in self._plan.collection_sources:
            if spec.index == self._plan.worker_of(source.stage, 0):
                elements = self._plan.collection_elements(source.node)
                engine.add_feed(f"c{source.number}", source.stage, elements)

    def _announce(self) -> None:
        for name, (incarnation, endpoint) in self._spec.peers.items():
            self._host.carry_out(self._engine.meet(name, incarnation, endpoint))
        self._host.carry_out(self._engine.hello())
        self._tell(wire.READY, {"redone": self._host.redone, "pid": os.getpid()})

    def _tell(self, kind: int, data: dict[str, Any]) -> None:
        spec = self._spec
        message = wire.encode_control(kind, spec.name, spec.incarnation, spec.generation, data)
        self._transport.send(SUPERVISOR, message)

    # --- serving ----------------------------------------------------------------------------------------

    def _loop(self) -> None:
        transport, host, spec = self._transport, self._host, self._spec
        sleep_on = [spec.alive_fd, self._background.fileno()]
        while not self._stopping:
            now = time.monotonic()
            for message in transport.receive(RECEIVE_LIMIT):
                self._take(wire.decode(message), now)
            host.turn(now, int(time.time() * 1000))
            if now >= self._published_s + PUBLISH_INTERVAL_S:
                self._publish(now)
            if self._engine.has_work or transport.pending():
                continue
            if spec.alive_fd in transport.wait(self._timeout_ms(now), sleep_on):
                console.finish()
                os._exit(0)

    def _timeout_ms(self, now: float) -> int | None:
        due = self._host.due_s(now)
        if self._unpublished:
            due = (
                min(due, self._published_s + PUBLISH_INTERVAL_S)
                if due is not None
                else now + PUBLISH_INTERVAL_S
            )
        return None if due is None else max(0, int((due - now) * 1000) + 1)

    @property
    def _unpublished(self) -> bool:
        return self._engine.counters.records_in != self._published_records

    def _take(self, message: wire.Data | wire.Control, now: float) -> None:
        if isinstance(message, wire.Data):
            self._host.receive(message, now)
        elif message.kind == wire.PEERS:
            for name, (incarnation, endpoint) in message.data.items():
                self._host.carry_out(self._engine.meet(name, incarnation, endpoint))
        elif message.kind == wire.STOP:
            self._stopping = True

    def _publish(self, now: float) -> None:
        self._published_s = now
        self._published_records = self._engine.counters.records_in
        self._page.publish(self._engine.statistics())
        for number, counts in self._operator_counts().items():
            self._page.publish_operator(number, *counts)
        for gauge, value in self._engine.gauges().items():
            self._page.set(gauge, value)
        self._page.set("log_bytes", self._log.size_bytes)
        self._undertaker.say_repeats()

    def _operator_counts(self) -> dict[int, tuple[int, int, int]]:
        numbers = self._plan.numbers
        return {
            numbers[uid]: (counts["records_in"], counts["records_out"], counts["failures"])
            for task in self._tasks.values()
            for uid, counts in task.statistics().items()
        }

    def _close(self) -> None:
        for task in self._tasks.values():
            task.close()
        self._host.turn(time.monotonic(), int(time.time() * 1000))
        self._publish(time.monotonic())
        self._host.close()
        self._page.idle()
        self._lock.release()


def main(argv: list[str]) -> int:
    """Be the worker that the specification in ``argv[1]`` describes."""
    spec = ProcessSpec.read(argv[1])
    faults.enable(spec.name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    console.install(spec.label, spec.console_lock)
    return WorkerProcess(spec).run()

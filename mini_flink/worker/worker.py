"""One worker without its process: engine, devices and tasks put together, ready to be turned by a loop.

The worker process gives it real devices, the local runner and the test harness give it twins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mini_flink import wire
from mini_flink.config import Settings
from mini_flink.core.base import Identity, Limits, Progress
from mini_flink.core.engine import Engine
from mini_flink.events import Say
from mini_flink.failures import FailureLog
from mini_flink.ids import gateway_name, worker_name
from mini_flink.metrics import Registry as Metrics
from mini_flink.operators.runtime import Task, build_task
from mini_flink.plan import Plan
from mini_flink.state.base import CommitLog, Table
from mini_flink.state.sizes import Sizes
from mini_flink.tracing.base import Tracing
from mini_flink.transport.base import Transport
from mini_flink.worker.background import Background
from mini_flink.worker.host import Capture, Host, release
from mini_flink.worker.meter import WorkerMeter
from mini_flink.worker.registry import Registry
from mini_flink.worker.tracing import WorkerTracer
from mini_flink.worker.undertaker import Undertaker


@dataclass(frozen=True, slots=True)
class Devices:
    """What a worker stores and sends with."""

    log: CommitLog
    table: Table
    transport: Transport
    background: Background


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker of which job this is. ``uids`` names all operator numbers the folder has ever given.

    ``boot``: the job may be another one than at the last start; a worker that is only restarted knows better.
    ``trial``: what is done is thrown away, so nothing but what is asked is done.
    """

    index: int
    gateways: int
    folder_id: int
    uids: Mapping[int, str]
    poison: tuple[int, int, int] | None = None
    boot: bool = True
    trial: bool = False


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


class Worker:
    """``recover``, ``secure``, ``open``, ``greet``; then ``take`` and ``turn``; ``close`` at the end."""

    def __init__(
        self,
        identity: Identity,
        place: Place,
        plan: Plan,
        settings: Settings,
        devices: Devices,
        progress: Progress,
        say: Say,
        captured: Callable[[Capture], None] = release,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._metrics = metrics or Metrics(lambda text: say("warn", text, name="metrics.unpublished"))
        self.meter = WorkerMeter(self._metrics)
        self.plan = plan
        self.place = place
        self._devices = devices
        tracer = None if tracing is None else WorkerTracer(tracing, self.meter, plan, place.folder_id)
        failures = FailureLog(full_trace=settings.full_trace)
        self.undertaker = Undertaker(
            place.index,
            identity.incarnation,
            place.folder_id,
            place.uids,
            {number: node.location for number, node in plan.operators.items()},
            failures,
            say,
            explains=settings.dev,
            trace_id=str if tracer is None else tracer.current_trace_id,
        )
        self.engine = Engine(
            identity,
            [worker_name(index) for index in range(plan.workers)],
            [gateway_name(slot) for slot in range(place.gateways)],
            devices.table,
            limits=limits_of(settings),
            progress=progress,
            undertaker=self.undertaker,
            clock=time.monotonic,
            durable=settings.durability == "disk",
            poison=place.poison,
            meter=tracer or self.meter,
            tracer=tracer,
        )
        self.host = Host(
            self.engine,
            devices.log,
            devices.table,
            devices.transport,
            devices.background,
            salvage=settings.accept_inconsistent_state,  # what a power cut left of the log, up to the damage
            captured=captured,
        )
        self.tasks: dict[int, Task] = {}
        self.unnamed_stateful_operators: list[str] = []
        self._registry: Registry | None = None

    def recover(self) -> None:
        """Redo what the log has and the table has not."""
        self.host.recover()

    def secure(self) -> int:
        """Make it durable again; how many commits were redone. May be called again after StorageFullError."""
        return self.host.secure()

    def open(self) -> None:
        """Open the user's functions; refuse a job that would leave stored state or records behind."""
        plan, place, engine = self.plan, self.place, self.engine
        registry = Registry(engine.overlay, self._devices.table, place.uids, plan.max_parallelism)
        self.tasks = {
            number: build_task(
                plan,
                stage,
                place.index,
                engine.overlay,
                registry,
                engine.outputs,
                folder_id=place.folder_id,
                metrics=self._metrics,
            )
            for number, stage in plan.stages.items()
        }
        self._registry = registry
        self.meter.watch(self.tasks)
        for task in self.tasks.values():
            task.open()
        registry.check_complete()
        self.unnamed_stateful_operators = [
            plan.operators[number].uid
            for number in registry.stateful_operators
            if not plan.operators[number].has_uid
        ]
        if place.boot:
            engine.check_deliverable(plan.stages, place.uids)
        engine.tasks = self.tasks
        if place.trial:
            engine.forget_backlog()
            return
        for source in plan.collection_sources:
            if place.index == plan.worker_of(source.stage, 0):
                name = f"c{source.number}"
                registry.check_collection(source.node, source.number, engine.fed(name))
                elements = plan.collection_elements(source.node)
                engine.add_feed(name, source.stage, elements)

    def greet(self, peers: Mapping[str, Sequence[Any]]) -> None:
        """Connect to the peers and say hello."""
        self.meet(peers)
        self.host.carry_out(self.engine.hello())

    def meet(self, peers: Mapping[str, Sequence[Any]]) -> None:
        """Where peers listen now."""
        for name, (incarnation, endpoint) in peers.items():
            self.host.carry_out(self.engine.meet(name, incarnation, endpoint))

    def take(self, message: wire.Data, now: float) -> None:
        """A message from a peer."""
        self.host.receive(message, now)

    def turn(self, now: float) -> None:
        """Run a batch if there is one, and everything that is due."""
        self.host.turn(now, time.time_ns() // 1_000_000)

    def operator_counts(self) -> dict[int, tuple[int, int, int]]:
        """Per operator number: records in, records out, failures."""
        numbers = self.plan.numbers
        return {
            numbers[uid]: (counts["records_in"], counts["records_out"], counts["failures"])
            for task in self.tasks.values()
            for uid, counts in task.statistics().items()
        }

    def publish(self, now: float, sizes: Sizes | None) -> None:
        """Bring the metrics up to date; ``sizes`` are those of the table, None if it does not tell."""
        self.meter.publish(now, self.engine.waiting())
        if sizes is not None and self._registry is not None:
            uids = {number: node.uid for number, node in self.plan.operators.items()}
            self.meter.publish_state(sizes, self._registry.states, uids)

    def close(self) -> bool:
        """Close the user's functions, and leave all in the table; False if there was no space for that."""
        for task in self.tasks.values():
            task.close()
        self.undertaker.close()
        return self.host.close()

"""A whole job in one process on the in-memory twins: for ``python job.py`` and for the test harness.

The machines, the tasks and the door are those that serve; only log, table, transport and background work are
twins. Nothing here is durable beyond the life of the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mini_flink import plan as plans
from mini_flink import wire
from mini_flink.config import Settings
from mini_flink.core.base import Identity
from mini_flink.graph import JobGraph
from mini_flink.ids import gateway_name, worker_name
from mini_flink.plan import Plan
from mini_flink.state.memory import MemoryDisk, MemoryLog, MemoryTable
from mini_flink.tracing.base import Tracing
from mini_flink.transport.memory import MemoryNetwork, MemoryTransport
from mini_flink.worker.background import InlineBackground
from mini_flink.worker.worker import Devices, Place, Worker

FOLDER_ID = 0
_RECEIVE_LIMIT = 256


class NoProgressPage:
    """Nobody watches a twin: it is in the caller's own process."""

    def begin(self, source: int, session: int, number: int, operator: int) -> None:
        """Ignored."""

    def idle(self) -> None:
        """Ignored."""


class TwinWorker:
    """A worker's place: its disk stays, its life begins and ends."""

    def __init__(self, job: TwinJob, index: int) -> None:
        self.disk = MemoryDisk()
        self.index = index
        self.name = worker_name(index)
        self.incarnation = 0
        self._job = job
        self.transport: MemoryTransport | None = None
        self.worker: Worker | None = None

    @property
    def endpoint(self) -> str:
        """Where this incarnation listens."""
        return f"memory://{self.name}.{self.incarnation}"

    def start(self) -> None:
        """Recover what the disk has, and serve."""
        job = self._job
        self.incarnation += 1
        self.transport = MemoryTransport(job.network)
        self.transport.bind(self.endpoint)
        log = MemoryLog(self.disk, durable=job.settings.durability == "disk")
        devices = Devices(log, MemoryTable(self.disk), self.transport, InlineBackground())
        self.worker = Worker(
            Identity(self.name, self.incarnation, 1, self.endpoint),
            Place(self.index, 1, FOLDER_ID, {number: uid for uid, number in job.plan.numbers.items()}),
            job.plan,
            job.settings,
            devices,
            NoProgressPage(),
            job.tell,
            tracing=job.tracing,
        )
        self.worker.recover()
        self.worker.secure()
        self.worker.open()
        self.worker.greet(job.peers(self.name))

    def turn(self, now: float) -> bool:
        """Take what has arrived and run one batch; whether there was anything to do."""
        if self.worker is None or self.transport is None:
            return False
        messages = self.transport.receive(_RECEIVE_LIMIT)
        for message in map(wire.decode, messages):
            if isinstance(message, wire.Data):
                self.worker.take(message, now)
        busy = bool(messages) or self.worker.engine.has_work
        self.worker.turn(now)
        return busy

    def crash(self) -> None:
        """Die as by ``kill -9``: what was not committed is gone, what was sent to it is lost."""
        self.worker = None
        if self.transport is not None:
            self.transport.close()
            self.transport = None
        self.disk.crash()

    def close(self) -> None:
        """The clean end."""
        if self.worker is not None and self.transport is not None:
            self.worker.close()
            self.transport.close()
        self.worker = None


class TwinJob:
    """The workers of a job, and the network that joins them to one gateway."""

    def __init__(
        self,
        graph: JobGraph,
        settings: Settings,
        workers: int,
        say: Callable[[str], None],
        tracing: Tracing | None = None,
    ) -> None:
        numbers = {node.uid: number for number, node in enumerate(graph.nodes, 1)}
        self.plan: Plan = plans.build(graph, workers, numbers)
        self.settings = settings
        self.say = say
        self.tracing = tracing
        self.network = MemoryNetwork()
        self.gateway_endpoint = f"memory://{gateway_name(0)}.1"
        self.workers = [TwinWorker(self, index) for index in range(workers)]

    def tell(self, _level: str, text: str, /, **_fields: Any) -> None:
        """To the person at the terminal: no program reads what is said here."""
        self.say(text)

    def start(self) -> None:
        """Start every worker."""
        for worker in self.workers:
            worker.start()

    def peers(self, newcomer: str = "") -> dict[str, list[object]]:
        """Where everyone listens, as the supervisor would say it."""
        peers: dict[str, list[object]] = {
            worker.name: [worker.incarnation, worker.endpoint]
            for worker in self.workers
            if worker.name != newcomer and worker.incarnation
        }
        peers[gateway_name(0)] = [1, self.gateway_endpoint]
        return peers

    def turn(self) -> bool:
        """One turn of every worker; whether any had something to do."""
        now = time.monotonic()
        busy = [worker.turn(now) for worker in self.workers]
        return any(busy)

    def due_s(self, now: float) -> float | None:
        """When ``turn`` is to be called next if nothing arrives."""
        dues = [worker.worker.host.due_s(now) for worker in self.workers if worker.worker is not None]
        return min((due for due in dues if due is not None), default=None)

    def close(self) -> None:
        """The clean end of every worker."""
        for worker in self.workers:
            worker.close()

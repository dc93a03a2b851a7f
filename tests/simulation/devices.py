"""The devices of a simulated process: they outlive it, fail, and lose things as the seed decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mini_flink import wire
from mini_flink.core.base import Burial
from mini_flink.errors import MiniFlinkError, RecordError, StorageFullError
from mini_flink.state.memory import MemoryLog
from mini_flink.worker.background import Outcome
from mini_flink.worker.snapshots import Cancelled

if TYPE_CHECKING:
    from tests.simulation.world import World


class Crashed(Exception):
    """The process dies here."""


class Fuse:
    """Burns at every effect; a worker dies when it is burnt down."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crashed


class SimLog:
    """A log that outlives its process, and a fuse at every call."""

    def __init__(self, log: MemoryLog, fuse: Fuse, world: World) -> None:
        self._log = log
        self._fuse = fuse
        self._world = world

    wants_preparation = False

    def recover(self, after: int, *, salvage: bool = False) -> Iterator[tuple[int, bytes]]:
        return self._log.recover(after, salvage=salvage)

    def rewrite(self, records: list[tuple[int, bytes]]) -> None:
        self._fuse.burn()
        self._log.rewrite(records)
        self._fuse.burn()

    def append(self, number: int, payload: bytes) -> None:
        self._fuse.burn()
        if self._world.rng.random() < self._world.chaos.disk_full:
            raise StorageFullError("full")
        self._log.append(number, payload)
        self._fuse.burn()

    def sync(self) -> None:
        self._log.sync()
        self._fuse.burn()

    def recycle(self, upto: int) -> None:
        self._fuse.burn()
        self._log.recycle(upto)

    def prepare(self) -> None:
        self._log.prepare()

    def close(self) -> None:
        pass


class SimBackground:
    """Background work that the world runs when the seed says so, or never: the process may die first."""

    def __init__(self) -> None:
        self.work: deque[tuple[str, Callable[[], None]]] = deque()
        self._outcomes: list[Outcome] = []

    def submit(self, name: str, work: Callable[[], None]) -> None:
        self.work.append((name, work))

    def run_one(self) -> None:
        name, work = self.work.popleft()
        error: Exception | None = None
        try:
            work()
        except (MiniFlinkError, Cancelled) as failure:
            error = failure
        self._outcomes.append(Outcome(name, error))

    def outcomes(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def join(self) -> None:
        while self.work:
            self.run_one()


class SimTransport:
    """One process's pipes: first in first out each, with losses, duplicates and late arrivals."""

    def __init__(self, world: World, fuse: Fuse) -> None:
        self._world = world
        self._fuse = fuse
        self._endpoints: dict[str, str] = {}
        self.serial = world.new_serial()

    def connect(self, peer: str, endpoint: str) -> None:
        self._endpoints[peer] = endpoint

    def send(self, peer: str, message: bytes) -> bool:
        self._fuse.burn()
        endpoint = self._endpoints.get(peer)
        if endpoint is None:
            return False
        rng, chaos = self._world.rng, self._world.chaos
        if rng.random() >= chaos.loss:
            pipe = self._world.pipe(self.serial, endpoint)
            pipe.append(message)
            if rng.random() < chaos.duplicate:
                pipe.append(message)
        return True


class Progress:
    """Nobody looks."""

    def begin(self, source: int, session: int, number: int, operator: int) -> None:
        pass

    def idle(self) -> None:
        pass


class Undertaker:
    """Error ids that never repeat, and letters that can be moved to other workers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> Burial:
        error_id = f"e{self._world.new_serial()}"
        letter = {
            "error_id": error_id,
            "operator": "operator",
            "stage": record.stage,
            "subtask": record.subtask,
            "key": record.key,
            "value": record.value,
        }
        return Burial(error_id, "operator", wire.pack(letter))

"""A world in one process: the modules that ship, on devices that a seed breaks.

Workers are ``Host`` and ``Engine`` with the in-memory log and table; gateways are ``PendingMap``. The seed
decides every step: what is delivered, lost, duplicated, when a worker dies (between any two effects), when
everything dies, whether the power goes with it; when a snapshot begins, when the latest one is restored, when
the number of workers or the job changes. After the chaos everything is started again, the network keeps
still, and the state is compared with what the clients were told.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.simulation import changeover, comparison
from tests.simulation.changeover import OVER, Changeover
from tests.simulation.job import KEYS, Job, make_job, random_parallelisms
from tests.simulation.processes import Gateway, Request, Worker
from tests.simulation.supervisor import Folder, Store, Supervisor

Process = Worker | Gateway
Pipe = deque[bytes | Callable[[], None]]
SUPERVISOR = "supervisor"
ABOVE = 0
"""The serial of the supervisor's pipes: it has no transport."""
RESCALES = (4, 2, 3)


@dataclass
class Chaos:
    """How rough a world is; each a probability per step or per message. Late is what the supervisor says."""

    loss: float = 0.05
    duplicate: float = 0.05
    disk_full: float = 0.0
    crash: float = 0.03
    crash_gateway: float = 0.01
    crash_all: float = 0.006
    power: float = 0.5
    flush: float = 0.5
    settle: float = 0.02
    announce: float = 0.7
    copy: float = 0.5
    late: float = 0.0
    snapshot: float = 0.0
    restore: float = 0.0
    rescale: float = 0.0
    upgrade: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether there are snapshots, and more than one generation."""
        return self.snapshot + self.rescale + self.upgrade > 0


CALM = Chaos(loss=0, duplicate=0, settle=0, crash=0, crash_gateway=0, crash_all=0, announce=1.0)


@dataclass
class World:
    """One seed's world."""

    seed: int
    steps: int = 250
    durable: bool = True
    chaos: Chaos = field(default_factory=Chaos)

    def __post_init__(self) -> None:
        self.rng = rng = random.Random(self.seed)
        self.now = 0.0
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self.events: Counter[str] = Counter()
        self.mended: set[int] = set()
        """Tokens of failing requests that would not fail if they were run once more."""
        self.dropped: set[int] = set()
        """Tokens whose dead letters somebody wanted to drop."""
        self.changes = self.is_fed = self.chaos.changes
        self.max_changed_keys = rng.choice((0, 0, 0, 30)) if self.changes else 0
        self._pipes: dict[tuple[int, str], Pipe] = {}
        self._listening: dict[str, Process] = {}
        self._serial = 0
        self._rescales = 0
        self.changeover: Changeover | None = None
        self.store = Store()
        self.folder = Folder(self._first_job())
        self.supervisor = Supervisor(self)
        self.workers: list[Worker] = []
        self.gateways: list[Gateway] = []
        self._make_workers()
        for slot in range(2):
            self.gateways.append(Gateway(self, slot, self.folder.job, self.folder.generation))

    def _first_job(self) -> Job:
        if not self.changes:
            return make_job(0, 2, (4, 4, 4))
        workers = self.rng.choice((1, 2, 2, 3))
        return make_job(0, workers, random_parallelisms(self.rng, workers))

    def _make_workers(self) -> None:
        folder = self.folder
        self.workers = [
            Worker(self, index, folder.job, folder.generation, disk)
            for index, disk in enumerate(folder.disks)
        ]

    # --- for processes ----------------------------------------------------------------------------------

    def new_serial(self) -> int:
        self._serial += 1
        return self._serial

    def check(self, condition: bool, problem: str) -> None:
        if not condition:
            self.problems.append(problem)

    @property
    def processes(self) -> list[Process]:
        """Everybody, the next generation included."""
        newcomers = self.changeover.newcomers if self.changeover is not None else []
        return [*self.workers, *self.gateways, *newcomers]

    @property
    def slots(self) -> int:
        """As many slots for gateways as there are, counted from 0."""
        return 1 + max(process.slot for process in self.processes if isinstance(process, Gateway))

    def peers_of(self, process: Process) -> list[Process]:
        """Those that were started and of whom a process may hear: no workers of another generation."""
        return [
            peer
            for peer in self.processes
            if peer is not process
            and peer.incarnation
            and (isinstance(peer, Gateway) or peer.generation == process.generation)
        ]

    def announce(self, newcomer: Process) -> None:
        """The supervisor tells the others, if the seed lets it be in time; in the end it always does."""
        for process in self.processes:
            may_know = isinstance(newcomer, Gateway) or newcomer.generation == process.generation
            if process is not newcomer and may_know and self.rng.random() < self.chaos.announce:
                process.meet(newcomer)

    def listen(self, process: Process) -> None:
        self._listening[process.endpoint] = process

    def ended(self, process: Process) -> None:
        """A process is gone: what was on its way to it is lost, and the supervisor sees it."""
        self._listening.pop(process.endpoint, None)
        for key in [key for key in self._pipes if key[1] == process.endpoint]:
            del self._pipes[key]
        last_words = self._pipes.pop((process.transport.serial, SUPERVISOR), ())
        if self.rng.random() < 0.5:
            for action in last_words:
                action()
        if isinstance(process, Worker):
            self.supervisor.ended(process)
        if self.changeover is not None:
            self.changeover.ended(process)

    def pipe(self, sender: int, endpoint: str) -> Pipe:
        pipe = self._pipes.get((sender, endpoint))
        if pipe is None:
            pipe = self._pipes[sender, endpoint] = deque()
        return pipe

    def mail(self, process: Process, action: Callable[[], None]) -> None:
        """The supervisor tells a process something; it arrives in order, at some time, if both live on."""
        if not process.is_down:
            self.pipe(ABOVE, process.endpoint).append(action)

    def tell(self, process: Process, action: Callable[[], None]) -> None:
        """A process tells the supervisor something."""
        self.pipe(process.transport.serial, SUPERVISOR).append(action)

    # --- running ----------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Chaos, then peace, then the comparison; what was found wrong."""
        try:
            for process in self.processes:
                process.start()
            for _ in range(self.steps):
                self._step()
            self._make_peace()
            comparison.compare(self)
        finally:
            self.store.clear()
        return self.problems

    def _step(self) -> None:
        rng, chaos = self.rng, self.chaos
        self.now += rng.choice((0.001, 0.01, 0.05, 0.3))
        if self.changes:
            self._step_changes()
        if rng.random() < chaos.settle and self.changeover is None:
            worker = rng.choice(self.workers)
            if not worker.is_down:
                worker.settle()
        draw = rng.random()
        if draw < chaos.crash_all:
            self._kill_all()
        elif draw < chaos.crash_all + chaos.crash_gateway:
            rng.choice(self.gateways).die()
        elif draw < (0.15 if self.changes else 0.3):
            self._submit()
        elif draw < (0.6 if self.changes else 0.65):
            self._deliver_one()
        else:
            process = rng.choice(self.processes)
            if process.is_down:
                self._start(process)
            process.turn()

    def _start(self, process: Process) -> None:
        """Somebody is started again; the next generation's workers are started by who makes it."""
        change = self.changeover
        if isinstance(process, Gateway) and change is not None:
            change.start(process)
        elif change is None or process not in change.newcomers:
            process.start()

    def _step_changes(self) -> None:
        rng, chaos, change = self.rng, self.chaos, self.changeover
        if change is not None:
            change.step()
            if change.phase == OVER:
                self.changeover = None
        draw = rng.random()
        if draw < chaos.snapshot:
            if not self.supervisor.is_busy or rng.random() < 0.1:
                self.supervisor.begin()
        elif draw < chaos.snapshot + chaos.restore:
            if self.store.complete:
                self._restore()
        elif draw < chaos.snapshot + chaos.restore + chaos.rescale:
            self._begin_changeover(upgrade=False)
        elif draw < chaos.snapshot + chaos.restore + chaos.rescale + chaos.upgrade:
            self._begin_changeover(upgrade=True)

    def _begin_changeover(self, *, upgrade: bool) -> None:
        if self.changeover is not None or any(process.is_down for process in self.processes):
            return
        workers = len(self.workers)
        if not upgrade or self.rng.random() < 0.3:
            workers = RESCALES[self._rescales % len(RESCALES)]
            self._rescales += 1
        job = self.folder.job.next(self.rng, workers, upgrade=upgrade)
        self.changeover = Changeover(self, job, upgrade=upgrade)

    # --- deaths -----------------------------------------------------------------------------------------

    def _kill_all(self) -> None:
        self._everybody_dies()
        if self.rng.random() < self.chaos.power:
            for worker in self.workers:
                worker.disk.power_cut(self.rng)
        self._begin_again()

    def _everybody_dies(self, *, but_gateways: bool = False) -> None:
        """The supervisor too, and all that it was about."""
        processes, self.changeover = self.processes, None
        for process in processes:
            if isinstance(process, Worker) or process not in self.gateways or not but_gateways:
                process.die()
        self.supervisor = Supervisor(self)

    def _begin_again(self) -> None:
        """Nobody is left: what is durable decides who there will be."""
        self._pipes.clear()
        self._make_workers()

    def _restore(self) -> None:
        rng, folder = self.rng, self.folder
        gateways_live = rng.random() < 0.5
        self._everybody_dies(but_gateways=gateways_live)
        workers = rng.randint(1, 4)
        changeover.restore(self, folder.job.next(rng, workers, upgrade=rng.random() < 0.3))
        self.events["restore"] += 1
        self._make_workers()
        for gateway in self.gateways:
            gateway.generation, gateway.job = folder.generation, folder.job
            if not gateway.is_down:
                gateway.fail_pending()
                gateway.go(folder.generation, folder.job, ())
        for key in list(self._pipes):
            if not gateways_live or ABOVE in key or SUPERVISOR in key:  # the old supervisor's words
                del self._pipes[key]

    # --- what happens -----------------------------------------------------------------------------------

    def _submit(self) -> None:
        self.rng.choice(self.gateways).submit(self._new_request())

    def _new_request(self) -> Request:
        rng = self.rng
        kind = rng.choices(("plain", "silent", "fail", "fan"), (4, 1, 1, 4))[0]
        return Request(self.new_serial(), rng.randrange(KEYS), kind, rng.randrange(1, 4))

    def _deliver_one(self) -> None:
        pipes = [key for key, pipe in self._pipes.items() if pipe]
        if pipes:
            key = self.rng.choice(pipes)
            if key[0] != ABOVE or self.rng.random() >= self.chaos.late:
                self._deliver(key[1], self._pipes[key].popleft())

    def _deliver(self, endpoint: str, message: bytes | Callable[[], None]) -> None:
        if not isinstance(message, bytes):
            message()
        elif (process := self._listening.get(endpoint)) is not None:
            process.deliver(message)

    def ask_on_trial(self, gateway: Gateway, workers: Sequence[Worker]) -> bool:
        """A probe for workers on trial; False if they were not given the time to answer it."""
        request = self._new_request()
        gateway.enter(request)
        for _ in range(3 if self.rng.random() < 0.1 else 400):
            self.now += 0.01
            for worker in workers:
                worker.turn()
            gateway.turn()
            for endpoint in (*(worker.endpoint for worker in workers), gateway.endpoint):
                for key in [key for key in self._pipes if key[1] == endpoint]:
                    pipe = self._pipes[key]
                    while pipe and self.rng.random() < 0.7:
                        self._deliver(endpoint, pipe.popleft())
            if request.outcome is not None:
                return True
        return False

    # --- the end ----------------------------------------------------------------------------------------

    def _make_peace(self) -> None:
        rough, self.chaos = self.chaos, CALM
        if self.changeover is not None:
            self.changeover.calm_down()
            if self.rng.random() < 0.3:
                self.changeover.abort()
        for process in self.processes:
            if process.is_down:
                self._start(process)
            if not process.is_down:
                self.announce(process)
        for _ in range(600):
            self.now += 0.3
            if self.changeover is not None:
                self.changeover.step()
                self.check(self.changeover.has_patience, f"a changeover is stuck in {self.changeover.phase}")
                if self.changeover.phase == OVER:
                    self.changeover = None
            moved = self._calm_turn()
            if not moved and self._quiet():
                return
        self.problems.append(f"it never comes to rest: {rough}")

    def _calm_turn(self) -> bool:
        for process in self.processes:
            if process.is_down:
                self._start(process)
            if isinstance(process, Worker) and not process.is_down:
                process.fuse.left = None
        for process in self.processes:
            process.turn()
        moved = False
        while pipes := [key for key, pipe in self._pipes.items() if pipe]:
            moved = True
            for key in pipes:
                pipe = self._pipes.get(key)
                if pipe:
                    self._deliver(key[1], pipe.popleft())
        return moved

    def _quiet(self) -> bool:
        engines = [worker.engine for worker in self.workers if not worker.is_down]
        waiting = any(engine.has_work or engine.storage_full for engine in engines)
        return not waiting and self.changeover is None and not any(gateway.map for gateway in self.gateways)

"""A world in one process: the modules that ship, on devices that a seed breaks.

Workers are ``Host`` and ``Engine`` with the in-memory log and table; gateways are ``PendingMap``. The seed
decides every step: what is delivered, lost, duplicated, when a worker dies (between any two effects), when
everything dies, whether the power goes with it. After the chaos everything is started again, the network
keeps still, and the state is compared with what the clients were told.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mini_flink import wire
from mini_flink.core.base import Identity, Limits
from mini_flink.core.effects import Connect, Effect, Send
from mini_flink.core.engine import Engine
from mini_flink.core.pending import Ended, Extra, Failed, Full, Outcome, PendingMap, Replied
from mini_flink.errors import RecordError, StorageFullError
from mini_flink.ids import gateway_name, worker_name
from mini_flink.records import Origin
from mini_flink.state import layout
from mini_flink.state.memory import MemoryDisk, MemoryLog, MemoryTable
from mini_flink.worker.host import Host

STAGE_TOTAL, STAGE_PART, STAGE_JOIN = 1, 2, 3


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
        self._outcomes: list[tuple[str, Exception | None]] = []

    def submit(self, name: str, work: Callable[[], None]) -> None:
        self.work.append((name, work))

    def run_one(self) -> None:
        name, work = self.work.popleft()
        error = None
        try:
            work()
        except StorageFullError as failure:
            error = failure
        self._outcomes.append((name, error))

    def outcomes(self) -> list:
        from mini_flink.worker.background import Outcome

        outcomes, self._outcomes = self._outcomes, []
        return [Outcome(*item) for item in outcomes]

    def join(self) -> None:
        while self.work:
            self.run_one()


class SimTransport:
    """One process's pipes: first in first out each, with losses, duplicates and late arrivals."""

    def __init__(self, world: World, fuse: Fuse) -> None:
        self._world = world
        self._fuse = fuse
        self._endpoints: dict[str, str] = {}
        self._serial = world.new_serial()

    def connect(self, peer: str, endpoint: str) -> None:
        self._endpoints[peer] = endpoint

    def send(self, peer: str, message: bytes) -> bool:
        self._fuse.burn()
        endpoint = self._endpoints.get(peer)
        if endpoint is None:
            return False
        rng, chaos = self._world.rng, self._world.chaos
        if rng.random() >= chaos.loss:
            pipe = self._world.pipes.setdefault((self._serial, endpoint), deque())
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
    """Error ids that never repeat."""

    def __init__(self, world: World) -> None:
        self._world = world

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> tuple[str, str, bytes]:
        return f"e{self._world.new_serial()}", "operator", record.value


class Tasks:
    """The job: count tokens per key; fan out over a second key; join by token; reply."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        token, kind, parts, index = wire.unpack(value)
        stage = self._stage
        state = layout.state_prefix(0, stage, 0) + (key or b"")
        seen = wire.unpack(self._engine.overlay.get(state) or wire.pack([]))
        seen.append([token, index])
        self._engine.overlay.put(state, wire.pack(seen))
        getattr(self, f"_{kind}")(stage, token, kind, parts, index, seen)

    def for_stage(self, stage: int) -> Tasks:
        task = Tasks(self._engine)
        task._stage = stage
        return task

    def _plain(self, stage: int, token: int, kind: str, parts: int, index: int, seen: list) -> None:
        self._engine.outputs.reply(0, 200, [], None, wire.pack([token, len(seen) - 1]))

    def _silent(self, stage: int, token: int, kind: str, parts: int, index: int, seen: list) -> None:
        """No output: 204."""

    def _fail(self, stage: int, token: int, kind: str, parts: int, index: int, seen: list) -> None:
        raise RecordError("as planned")

    def _fan(self, stage: int, token: int, kind: str, parts: int, index: int, seen: list) -> None:
        if stage == STAGE_TOTAL:
            for part in range(parts):
                self._emit(STAGE_PART, (token + part) % 5, token, kind, parts, part)
        elif stage == STAGE_PART:
            self._emit(STAGE_JOIN, token, token, kind, parts, index)
        elif len(seen) == parts:
            self._engine.outputs.reply(0, 200, [], None, wire.pack([token, parts]))

    def _emit(self, stage: int, key: int, token: int, kind: str, parts: int, index: int) -> None:
        value = wire.pack([token, kind, parts, index])
        self._engine.outputs.emit(stage, key % 4, b"k%d" % key, value)


@dataclass
class Chaos:
    """How rough a world is; each a probability per step or per message."""

    loss: float = 0.05
    duplicate: float = 0.05
    disk_full: float = 0.0
    crash: float = 0.03
    crash_gateway: float = 0.01
    crash_all: float = 0.006
    power: float = 0.5
    flush: float = 0.5
    announce: float = 0.7


CALM = Chaos(loss=0, duplicate=0, crash=0, crash_gateway=0, crash_all=0, announce=1.0)


@dataclass
class Request:
    """What a client asked and heard."""

    token: int
    key: int
    kind: str
    parts: int
    gateway: tuple[int, int]
    outcome: Outcome | None = None


class Worker:
    """A worker's place: its disk stays, its processes come and go."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.name = worker_name(index)
        self.incarnation = 0
        self.disk = MemoryDisk()
        self.host: Host | None = None

    def start(self) -> None:
        world = self.world
        self.incarnation += 1
        self.fuse = Fuse()
        if world.rng.random() < world.chaos.crash:
            self.fuse.left = world.rng.randrange(6)
        self.background = SimBackground()
        self.transport = SimTransport(world, self.fuse)
        self.disk.crash()
        table = MemoryTable(self.disk)
        engine = Engine(
            Identity(self.name, self.incarnation, 1, f"{self.name}.{self.incarnation}"),
            [worker.name for worker in world.workers],
            [gateway.name for gateway in world.gateways],
            table,
            limits=Limits(
                batch_records=world.rng.choice((2, 8)), flush_interval_s=0.3, channel_window_bytes=400
            ),
            progress=Progress(),
            undertaker=Undertaker(world),
            clock=lambda: world.now,
            durable=world.durable,
        )
        tasks = Tasks(engine)
        engine.tasks = {stage: tasks.for_stage(stage) for stage in (STAGE_TOTAL, STAGE_PART, STAGE_JOIN)}
        log = SimLog(MemoryLog(self.disk, durable=world.durable), self.fuse, world)
        self.host = Host(engine, log, table, self.transport, self.background)
        try:
            self.host.recover()
            self.host.secure()
            for peer in (*world.workers, *world.gateways):
                if peer is not self and peer.incarnation:
                    self.host.carry_out(engine.meet(peer.name, peer.incarnation, peer.endpoint))
            self.host.carry_out(engine.hello())
        except Crashed:
            self.die()
        else:
            world.announce(self)

    @property
    def endpoint(self) -> str:
        return f"{self.name}.{self.incarnation}"

    def meet(self, peer: Worker | Gateway) -> None:
        if self.host is not None:
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
        self.host = None
        self.disk.crash()
        self.world.forget(self.endpoint)

    def deliver(self, message: bytes) -> None:
        data = wire.decode(message)
        self.guarded(lambda host: host.receive(data, self.world.now))

    def turn(self) -> None:
        world = self.world
        if self.host is None:
            return
        if self.fuse.left is None and world.rng.random() < world.chaos.crash:
            self.fuse.left = world.rng.randrange(8)
        self.guarded(lambda host: host.turn(world.now, int(world.now * 1000)))
        if self.host is not None and self.background.work and world.rng.random() < world.chaos.flush:
            self.guarded(lambda _: self.background.run_one())


class Gateway:
    """A gateway's slot: nothing of it is durable but the number of its incarnations."""

    def __init__(self, world: World, slot: int) -> None:
        self.world = world
        self.slot = slot
        self.name = gateway_name(slot)
        self.incarnation = 0
        self.map: PendingMap[Request] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.name}.{self.incarnation}"

    def start(self) -> None:
        self.incarnation += 1
        self.transport = SimTransport(self.world, Fuse())
        identity = Identity(self.name, self.incarnation, 1, self.endpoint)
        self.map = PendingMap(identity, self.slot, len(self.world.workers), capacity=64, window_bytes=400)
        for worker in self.world.workers:
            if worker.incarnation:
                self.carry_out(self.map.meet(worker.name, worker.incarnation, worker.endpoint))
        self.carry_out(self.map.hello())
        self.world.announce(self)

    def meet(self, peer: Worker | Gateway) -> None:
        if self.map is not None and isinstance(peer, Worker):
            self.carry_out(self.map.meet(peer.name, peer.incarnation, peer.endpoint))

    def die(self) -> None:
        self.map = None
        self.world.forget(self.endpoint)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.transport.send(effect.peer, effect.message)
            elif isinstance(effect, Connect):
                self.transport.connect(effect.peer, effect.endpoint)

    def submit(self, request: Request) -> None:
        if self.map is None:
            return
        value = wire.pack([request.token, request.kind, request.parts, 0])
        target = (STAGE_TOTAL, request.key % 4, b"k%d" % request.key, value)
        try:
            self.map.submit(request, target, 1000.0, self.world.now, int(self.world.now * 1000))
        except Full:
            return
        self.world.requests.append(request)

    def deliver(self, message: bytes) -> None:
        if self.map is None:
            return
        outcomes: list[tuple[Request, Outcome]] = []
        data = wire.decode(message)
        self.carry_out(self.map.receive(data, self.world.now, outcomes))
        for request, outcome in outcomes:
            if isinstance(outcome, Extra):
                continue
            self.world.check(request.outcome is None, f"{request} was answered again: {outcome}")
            request.outcome = outcome

    def turn(self) -> None:
        if self.map is not None:
            self.carry_out(self.map.due(self.world.now))


@dataclass
class World:
    """One seed's world."""

    seed: int
    steps: int = 250
    durable: bool = True
    chaos: Chaos = field(default_factory=Chaos)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = 0.0
        self.pipes: dict[tuple[int, str], deque[bytes]] = {}
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self._serial = 0
        self.workers: list[Worker] = []
        self.gateways: list[Gateway] = []
        for index in range(2):
            self.workers.append(Worker(self, index))
        for slot in range(2):
            self.gateways.append(Gateway(self, slot))
        self.processes: list[Worker | Gateway] = [*self.workers, *self.gateways]

    def new_serial(self) -> int:
        self._serial += 1
        return self._serial

    def check(self, condition: bool, problem: str) -> None:
        if not condition:
            self.problems.append(problem)

    def announce(self, newcomer: Worker | Gateway) -> None:
        """The supervisor tells the others, if the seed lets it be in time; in the end it always does."""
        for process in self.processes:
            if process is not newcomer and self.rng.random() < self.chaos.announce:
                process.meet(newcomer)

    def forget(self, endpoint: str) -> None:
        for key in [key for key in self.pipes if key[1] == endpoint]:
            del self.pipes[key]

    # --- running ----------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Chaos, then peace, then the comparison; what was found wrong."""
        for process in self.processes:
            process.start()
        for _ in range(self.steps):
            self._step()
        self._make_peace()
        self._compare()
        return self.problems

    def _step(self) -> None:
        rng, chaos = self.rng, self.chaos
        self.now += rng.choice((0.001, 0.01, 0.05, 0.3))
        draw = rng.random()
        if draw < chaos.crash_all:
            self._kill_all()
        elif draw < chaos.crash_all + chaos.crash_gateway:
            rng.choice(self.gateways).die()
        elif draw < 0.3:
            self._submit()
        elif draw < 0.65:
            self._deliver_one()
        else:
            process = rng.choice(self.processes)
            if self._is_down(process):
                process.start()
            process.turn()

    @staticmethod
    def _is_down(process: Worker | Gateway) -> bool:
        return (process.host if isinstance(process, Worker) else process.map) is None

    def _kill_all(self) -> None:
        for process in self.processes:
            process.die()
        self.pipes.clear()
        if self.rng.random() < self.chaos.power:
            for worker in self.workers:
                worker.disk.power_cut(self.rng)

    def _submit(self) -> None:
        rng = self.rng
        gateway = rng.choice(self.gateways)
        kind = rng.choices(("plain", "silent", "fail", "fan"), (4, 1, 1, 4))[0]
        token = self.new_serial()
        parts = rng.randrange(1, 4)
        gateway.submit(Request(token, rng.randrange(6), kind, parts, (gateway.slot, gateway.incarnation)))

    def _deliver_one(self) -> None:
        pipes = [key for key, pipe in self.pipes.items() if pipe]
        if pipes:
            key = self.rng.choice(pipes)
            self._deliver(key[1], self.pipes[key].popleft())

    def _deliver(self, endpoint: str, message: bytes) -> None:
        for process in self.processes:
            if process.endpoint == endpoint and not self._is_down(process):
                process.deliver(message)

    def _make_peace(self) -> None:
        self.chaos = CALM
        for process in self.processes:
            if self._is_down(process):
                process.start()
            if isinstance(process, Worker):
                process.fuse.left = None
        for process in self.processes:
            self.announce(process)
        for _ in range(400):
            self.now += 0.3
            moved = False
            for process in self.processes:
                process.turn()
            while pipes := [key for key, pipe in self.pipes.items() if pipe]:
                moved = True
                for key in pipes:
                    self._deliver(key[1], self.pipes[key].popleft())
            if not moved and self._quiet():
                return
        self.problems.append("it never comes to rest")

    def _quiet(self) -> bool:
        engines = [worker.host.engine for worker in self.workers if worker.host]
        waiting = any(engine.has_work or engine.storage_full for engine in engines)
        return not waiting and not any(gateway.map for gateway in self.gateways)

    # --- comparing --------------------------------------------------------------------------------------

    def _state(self, stage: int) -> dict[bytes, list[list[int]]]:
        state: dict[bytes, list[list[int]]] = {}
        prefix = layout.state_prefix(0, stage, 0)
        for worker in self.workers:
            if worker.host is None:
                continue
            overlay = worker.host.engine.overlay
            keys = {b"k%d" % key for key in range(6)} | {b"k%d" % request.token for request in self.requests}
            for key in keys:
                value = overlay.get(prefix + key)
                if value is not None:
                    self.check(key not in state, f"{key!r} of stage {stage} is in two workers")
                    state[key] = wire.unpack(value)
        return state

    def _compare(self) -> None:
        totals, parts, joins = self._state(STAGE_TOTAL), self._state(STAGE_PART), self._state(STAGE_JOIN)
        seen_parts = [tuple(item) for items in parts.values() for item in items]
        self.check(len(seen_parts) == len(set(seen_parts)), "a part was applied twice")
        for request in self.requests:
            tokens = [token for token, _ in totals.get(b"k%d" % request.key, [])]
            count = tokens.count(request.token)
            self._compare_request(request, count, tokens)
            if request.kind == "fan":
                found = sum(1 for token, _ in seen_parts if token == request.token)
                self.check(found == count * request.parts, f"{request}: {found} parts in stage 2")
                joined = len(joins.get(b"k%d" % request.token, []))
                self.check(joined == count * request.parts, f"{request}: {joined} parts joined")
        self._compare_order(totals)

    def _compare_request(self, request: Request, count: int, tokens: list[int]) -> None:
        outcome = request.outcome
        gateway = self.gateways[request.gateway[0]]
        if gateway.incarnation == request.gateway[1]:
            self.check(outcome is not None, f"{request} was never answered")
        self.check(count <= 1, f"{request} was applied {count} times")
        if request.kind == "fail":
            self.check(count == 0, f"{request} failed and left state behind")
            self.check(outcome is None or isinstance(outcome, Failed), f"{request}: not failed")
            return
        if outcome is not None:
            self.check(count == 1, f"{request} was answered and is not applied")
            expected = Ended if request.kind == "silent" else Replied
            self.check(isinstance(outcome, expected), f"{request}: expected {expected.__name__}")
        if isinstance(outcome, Replied):
            token, number = wire.unpack(outcome.body)
            self.check(token == request.token, f"{request} got the answer of {token}")
            if request.kind == "plain" and count == 1:
                self.check(tokens.index(token) == number, f"{request}: its place has changed")

    def _compare_order(self, totals: dict[bytes, list[list[int]]]) -> None:
        sender = {request.token: request.gateway for request in self.requests}
        for key, items in totals.items():
            last: dict[tuple[int, int], int] = {}
            for token, _ in items:
                gateway = sender[token]
                self.check(last.get(gateway, 0) < token, f"{key!r}: {token} was overtaken")
                last[gateway] = token

"""A commit that finds no space in the log waits, its outputs with it, and the door closes all the same."""

from __future__ import annotations

import pytest

from mini_flink import wire
from mini_flink.core.base import Burial, Identity, Limits
from mini_flink.core.effects import Effect, Send
from mini_flink.core.engine import Engine
from mini_flink.core.pending import Ended, Full, Outcome, PendingMap
from mini_flink.errors import RecordError, StorageFullError
from mini_flink.records import Origin
from mini_flink.runners.twins import NoProgressPage
from mini_flink.state.memory import MemoryDisk, MemoryLog, MemoryTable
from mini_flink.transport.memory import MemoryNetwork, MemoryTransport
from mini_flink.worker.background import InlineBackground
from mini_flink.worker.host import Host


class FullLog(MemoryLog):
    """A log on a disk that can be full."""

    full = False

    def append(self, number: int, payload: bytes) -> None:
        if self.full:
            raise StorageFullError("no space left")
        super().append(number, payload)


class Silent:
    """A stage that takes every record and puts nothing out."""

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        pass

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> Burial:
        raise error


class Pair:
    """A worker and its gateway."""

    def __init__(self) -> None:
        network, disk = MemoryNetwork(), MemoryDisk()
        self.inbox, self.door = MemoryTransport(network), MemoryTransport(network)
        self.inbox.bind("w0")
        self.door.bind("g0")
        self.door.connect("w0", "w0")
        self.log = FullLog(disk, durable=True)
        table = MemoryTable(disk)
        engine = Engine(
            Identity("w0", 1, 1, "w0"),
            ["w0"],
            ["g0"],
            table,
            limits=Limits(),
            progress=NoProgressPage(),
            undertaker=Silent(),
            clock=lambda: self.now,
        )
        engine.tasks = {1: Silent()}
        self.now = 0.0
        self.host = Host(engine, self.log, table, self.inbox, InlineBackground())
        self.host.recover()
        self.host.secure()
        self.pending: PendingMap[str] = PendingMap(Identity("g0", 1, 1, "g0"), 0, 1, capacity=8)
        self.host.carry_out(engine.meet("g0", 1, "g0"))
        self.pending.meet("w0", 1, "w0")

    def turn(self) -> list[tuple[str, Outcome]]:
        """Everything that happens in the next two seconds; what the clients hear."""
        outcomes: list[tuple[str, Outcome]] = []
        for _ in range(20):
            self.now += 0.1
            self._send(self.pending.due(self.now))
            for message in self.inbox.receive(64):
                self.host.receive(_data(message), self.now)
            self.host.turn(self.now, 0)
            for message in self.door.receive(64):
                self._send(self.pending.receive(_data(message), self.now, outcomes))
        return outcomes

    def submit(self, name: str) -> None:
        self.pending.submit(name, (1, 0, b"key", b"value"), 100.0, self.now, 0)

    def _send(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.door.send(effect.peer, effect.message)


def _data(message: bytes) -> wire.Data:
    data = wire.decode(message)
    assert isinstance(data, wire.Data)
    return data


def test_the_door_closes_while_a_commit_waits_for_space() -> None:
    pair = Pair()
    pair.submit("before")
    assert pair.turn() == [("before", Ended())]
    pair.log.full = True
    pair.submit("waits")
    assert pair.turn() == []
    with pytest.raises(Full, match="no disk space"):
        pair.pending.check(0)
    pair.log.full = False
    assert pair.turn() == [("waits", Ended())]
    pair.pending.check(0)

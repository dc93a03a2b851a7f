"""How a server comes to rest: what the machine asks, and that it never says so too early."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from mini_flink import wire
from mini_flink.core.drain import CLOSING, DRAINED, OPEN, OPENING, SETTLING, Drain, Order


def settled(drain: Drain, orders: Sequence[Order], mark: int = 0) -> list[Order]:
    """All workers answer; what is asked next."""
    [order] = orders
    assert order.kind == wire.DRAIN
    found: list[Order] = []
    for name in sorted(order.receivers):
        found = drain.take_worker(name, order.data["number"], mark)
    return found


def drained() -> Drain:
    drain = Drain()
    [door] = drain.close(["g0"], ["w0", "w1"])
    orders = drain.take_gateway("g0", door.data["number"])
    assert settled(drain, settled(drain, orders)) == []
    assert drain.phase == DRAINED
    return drain


def test_workers_are_asked_until_nobody_has_moved_between_two_rounds() -> None:
    drain = Drain()
    [door] = drain.close(["g0", "g1"], ["w0", "w1"])
    assert door.data["open"] is False
    assert drain.take_gateway("g0", door.data["number"]) == []
    assert (drain.phase, drain.awaited) == (CLOSING, ["g1"])
    orders = drain.take_gateway("g1", door.data["number"])
    for mark in (1, 2, 2):
        assert drain.phase == SETTLING
        orders = settled(drain, orders, mark)
    assert (orders, drain.phase) == ([], DRAINED)


def test_answers_to_older_questions_do_not_count() -> None:
    drain = Drain()
    [first] = drain.close(["g0"], ["w0"])
    [second] = drain.close(["g0"], ["w0"])
    assert drain.take_gateway("g0", first.data["number"]) == []
    assert drain.phase == CLOSING
    [question] = drain.take_gateway("g0", second.data["number"])
    drain.died("w0")
    assert drain.take_worker("w0", question.data["number"], 0) == []
    assert drain.awaited == ["w0"]


@pytest.mark.parametrize("phase", [SETTLING, DRAINED])
def test_a_gateway_that_comes_back_is_told_that_the_door_is_closed(phase: str) -> None:
    drain = drained()
    if phase == SETTLING:
        drain.disturbed()
    assert drain.phase == phase
    assert drain.died("g0") == []
    assert (drain.phase, drain.awaited) == (CLOSING, ["g0"])
    [door] = drain.ready("g0")
    assert (door.receivers, door.data["open"]) == (["g0"], False)
    assert settled(drain, settled(drain, drain.take_gateway("g0", door.data["number"]))) == []
    assert drain.phase == DRAINED


def test_a_worker_that_comes_back_is_asked_again_with_all_others() -> None:
    drain = drained()
    [all_but_it] = drain.died("w1")
    assert drain.take_worker("w0", all_but_it.data["number"], 0) == []
    [question] = drain.ready("w1")
    assert (question.receivers, question.data) == (["w1"], all_but_it.data)
    [again] = drain.take_worker("w1", question.data["number"], 1)
    assert again.receivers == {"w0", "w1"}


def test_the_door_is_open_when_every_gateway_says_so() -> None:
    drain = drained()
    door, forget = drain.open()
    assert (door.data["open"], forget.kind, forget.data) == (True, wire.DRAIN, {"number": 0})
    drain.died("g0")
    assert drain.phase == OPENING
    [door] = drain.ready("g0")
    assert door.data["open"] is True
    assert drain.take_gateway("g0", door.data["number"]) == []
    assert drain.phase == OPEN
    assert (drain.died("w0"), drain.died("g0"), drain.ready("g0")) == ([], [], [])


# --- on a simulated server --------------------------------------------------------------------------------


@dataclass
class Worker:
    """Runs records that send records on; what it has not run, and what is not acknowledged, survives it."""

    queue: deque[int] = field(default_factory=deque)
    unacknowledged: int = 0
    ran: int = 0
    incarnation: int = 1
    asked: int = 0
    is_up: bool = True

    @property
    def at_rest(self) -> bool:
        return not self.queue and not self.unacknowledged


class World:
    """Workers, gateways that say at once that their doors are closed, and records that nobody waits for."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.workers = {f"w{index}": Worker() for index in range(self.rng.randrange(1, 4))}
        self.gateways = {"g0": True, "g1": True}
        self.wire: list[tuple[str, str, int]] = []
        """(receiver, sender, depth): a record on its way; depth -1: its acknowledgement."""
        self.drain = Drain()
        for worker in self.workers.values():
            worker.queue.extend(self.rng.randrange(6) for _ in range(self.rng.randrange(4)))

    def carry_out(self, orders: Sequence[Order]) -> None:
        waiting = deque(orders)
        while waiting:
            order = waiting.popleft()
            for name in order.receivers:
                if order.kind == wire.DRAIN and self.workers[name].is_up:
                    self.workers[name].asked = order.data["number"]
                elif order.kind == wire.DOOR and self.gateways[name]:
                    waiting.extend(self.drain.take_gateway(name, order.data["number"]))

    def run(self, name: str) -> None:
        """A record is run and committed: what it came with is acknowledged when it is taken from the wire."""
        worker = self.workers[name]
        depth = worker.queue.popleft()
        worker.ran += 1
        if depth:
            other = self.rng.choice(list(self.workers))
            if other == name:
                worker.queue.append(depth - 1)
            else:
                worker.unacknowledged += 1
                self.wire.append((other, name, depth - 1))

    def deliver(self, place: int) -> None:
        receiver, sender, depth = self.wire.pop(place)
        if depth < 0:
            self.workers[receiver].unacknowledged -= 1
        else:
            self.workers[receiver].queue.append(depth)
            self.wire.append((sender, receiver, -1))

    def kill(self, name: str) -> None:
        if name in self.gateways:
            self.gateways[name] = False
        else:
            worker = self.workers[name]
            worker.is_up, worker.asked, worker.ran = False, 0, 0
            worker.incarnation += 1
        self.carry_out(self.drain.died(name))

    def bring_back(self, name: str) -> None:
        if name in self.gateways:
            self.gateways[name] = True
        else:
            self.workers[name].is_up = True
        self.carry_out(self.drain.ready(name))

    def step(self) -> bool:
        """One thing that can happen; False if nothing can."""
        up = {name: worker for name, worker in self.workers.items() if worker.is_up}
        down = [name for name in self.workers if name not in up]
        down += [name for name, is_up in self.gateways.items() if not is_up]
        can: list[tuple[str, str | int]] = [("run", name) for name in up if up[name].queue]
        can += [("deliver", place) for place, (name, _, _) in enumerate(self.wire) if name in up]
        can += [("answer", name) for name in up if up[name].asked and up[name].at_rest]
        can += [("back", name) for name in down]
        if not can:
            return False
        what, which = self.rng.choice(can)
        match what, which:
            case "run", str(name):
                self.run(name)
            case "deliver", int(place):
                self.deliver(place)
            case "answer", str(name):
                worker = up[name]
                number, worker.asked = worker.asked, 0
                self.carry_out(self.drain.take_worker(name, number, (worker.incarnation, worker.ran)))
            case "back", str(name):
                self.bring_back(name)
        return True


@pytest.mark.parametrize("block", range(10))
def test_at_rest_is_said_once_nothing_is_left_and_not_before(block: int) -> None:
    for seed in range(block * 200, block * 200 + 200):
        world = World(seed)
        world.carry_out(world.drain.close(list(world.gateways), list(world.workers)))
        kills = world.rng.randrange(3)
        while True:
            if world.drain.phase == DRAINED:
                left = [*world.wire, *(item for worker in world.workers.values() for item in worker.queue)]
                assert not left, f"seed {seed}: {left} when all was said to be at rest"
            if kills and world.rng.random() < 0.05:
                kills -= 1
                alive = [name for name, worker in world.workers.items() if worker.is_up]
                alive += [name for name, is_up in world.gateways.items() if is_up]
                if alive:
                    world.kill(world.rng.choice(alive))
            if not world.step():
                break
        assert world.drain.phase == DRAINED, f"seed {seed}: it never came to rest"

"""How a server comes to rest behind a closed door: who has yet to say so. A machine without I/O.

First every gateway says that it lets nobody in, and that all whom it had let in have their answers. Then
every worker says that it has nothing left to do and that all it sent is committed. One such round proves
little: a worker may have spoken before another sent it its last record. So rounds go on until two in a row
have the same *marks*, which count what a worker has run: between the end of the one and the beginning of the
other nobody moved, and no record was under way that could move anybody.

Whoever dies meanwhile, or later, has to say so again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from mini_flink import wire

OPEN, CLOSING, SETTLING, DRAINED, OPENING = "open", "closing", "settling", "drained", "opening"


class Order(NamedTuple):
    """A message of ``kind`` to the processes of these names."""

    receivers: Collection[str]
    kind: int
    data: dict[str, Any]


class Drain:
    """Methods say what is to be sent; who does not run gets it when ``ready``.

    >>> drain = Drain()
    >>> [order] = drain.close(["g0"], ["w0"])
    >>> [order] = drain.take_gateway("g0", order.data["number"])
    >>> [order] = drain.take_worker("w0", order.data["number"], (1, 7))
    >>> drain.take_worker("w0", order.data["number"], (1, 7)), drain.phase
    ([], 'drained')
    """

    def __init__(self) -> None:
        self.phase = OPEN
        self._number = 0
        self._door = Order((), wire.DOOR, {})
        self._gateways: frozenset[str] = frozenset()
        self._workers: frozenset[str] = frozenset()
        self._awaited: set[str] = set()
        self._marks: dict[str, Any] = {}
        self._marks_before: dict[str, Any] | None = None

    @property
    def awaited(self) -> list[str]:
        """Who has yet to say something."""
        return sorted(self._awaited)

    def close(self, gateways: Collection[str], workers: Collection[str]) -> list[Order]:
        """Let nobody in, or see anew whether all is at rest: these are the processes that there are."""
        self._gateways, self._workers = frozenset(gateways), frozenset(workers)
        return self._set_door(CLOSING)

    def open(self) -> list[Order]:
        """Let everybody in again; workers need not say anything any more."""
        return [*self._set_door(OPENING), Order(self._workers, wire.DRAIN, {"number": 0})]

    def take_gateway(self, name: str, number: int) -> list[Order]:
        """A gateway's door is as it was told, and if it is closed, all behind it have their answers."""
        if self.phase not in (CLOSING, OPENING) or number != self._door.data["number"]:
            return []
        self._awaited.discard(name)
        if self._awaited:
            return []
        if self.phase == OPENING:
            self.phase = OPEN
            return []
        return self._settle()

    def take_worker(self, name: str, number: int, mark: Any) -> list[Order]:
        """A worker has nothing left to do; ``mark`` is another one if it has run anything since the last."""
        if self.phase != SETTLING or number != self._number or name not in self._awaited:
            return []
        self._awaited.remove(name)
        self._marks[name] = mark
        if self._awaited:
            return []
        if self._marks == self._marks_before:
            self.phase = DRAINED
            return []
        return self._ask_workers(before=self._marks)

    def died(self, name: str) -> list[Order]:
        """A process has ended: what it said is worth nothing."""
        if name in self._gateways and self.phase != OPEN:
            if self.phase in (SETTLING, DRAINED):
                self.phase = CLOSING
                self._awaited.clear()
            self._awaited.add(name)
        elif name in self._workers:
            return self.disturbed()
        return []

    def disturbed(self) -> list[Order]:
        """Workers have been given something to do."""
        return self._settle() if self.phase in (SETTLING, DRAINED) else []

    def ready(self, name: str) -> list[Order]:
        """A process has come up, and is told what it may have missed."""
        if name in self._gateways and self.phase != OPEN:
            return [self._door._replace(receivers=[name])]
        if name in self._awaited and self.phase == SETTLING:
            return [self._question([name])]
        return []

    def _set_door(self, phase: str) -> list[Order]:
        self.phase = phase
        self._number += 1
        self._awaited = set(self._gateways)
        self._door = Order(self._gateways, wire.DOOR, {"open": phase == OPENING, "number": self._number})
        return [self._door]

    def _settle(self) -> list[Order]:
        self.phase = SETTLING
        return self._ask_workers(before=None)

    def _ask_workers(self, *, before: dict[str, Any] | None) -> list[Order]:
        self._number += 1
        self._marks, self._marks_before = {}, before
        self._awaited = set(self._workers)
        return [self._question(self._workers)]

    def _question(self, workers: Collection[str]) -> Order:
        return Order(workers, wire.DRAIN, {"number": self._number, "gateways": sorted(self._gateways)})

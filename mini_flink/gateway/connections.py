"""What all connections of a server share: the limits, the way to direct endpoints, one tick for all.

Owns the sweep that ends connections whose deadline has passed, the ``Date`` line, and the news that the last
connection is gone. Never parses or writes. ``server`` makes it, each ``protocol`` reports to it.

One tick serves every connection (a timer per request would cost more than parsing it), so a deadline fires up
to one tick late. Without connections nothing ticks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from uvicorn.server import ServerState

from mini_flink.gateway.port import FindDirect, HttpLimits

LONGEST_TICK_S = 1.0
LINGER_S = 5.0
"""How long the input of a refused request is discarded, so that its client gets to read the answer."""
LINGER_BYTES = 64 << 20
PIPELINED_REQUESTS = 64
"""How many requests may wait on one connection behind the one that is being answered; then 429."""


class Sweepable(Protocol):
    """What the tick needs of a connection."""

    def check_deadlines(self, now: float) -> None: ...
    def is_at_work(self) -> bool: ...
    def drop(self) -> None: ...


class Connections:
    """Shared by the connections of one server; made in the loop that runs them."""

    def __init__(
        self,
        limits: HttpLimits,
        find_direct: FindDirect,
        state: ServerState,
        refused: Callable[[int], None],
        max_connections: int | None = None,
    ) -> None:
        """With ``max_connections`` one more takes the place of the oldest that waits for no answer."""
        self.find_direct = find_direct
        self.refused = refused
        self.max_body_bytes = limits.max_body_bytes
        self.max_header_bytes = limits.max_header_bytes
        self.max_header_fields = limits.max_header_fields
        self.header_timeout_s = limits.header_timeout_ms / 1000
        self.body_timeout_s = limits.body_timeout_ms / 1000
        self.keep_alive_timeout_s = limits.keep_alive_timeout_ms / 1000
        self.date_line = b""
        self.draining = False
        self._state = state
        self._loop = asyncio.get_running_loop()
        shortest_s = min(self.header_timeout_s, self.body_timeout_s, self.keep_alive_timeout_s)
        self._tick_s = min(LONGEST_TICK_S, shortest_s / 4)
        self._timer: asyncio.TimerHandle | None = None
        self._open: dict[Sweepable, None] = {}
        self._max_connections = max_connections
        self._none_left = asyncio.Event()
        self._none_left.set()

    def opened(self, connection: Sweepable) -> None:
        """A connection was made."""
        if self._max_connections is not None and len(self._open) >= self._max_connections:
            idle = (each for each in self._open if not each.is_at_work())
            next(idle, connection).drop()
        self._open[connection] = None
        self._none_left.clear()
        if self._timer is None:
            self._tick()

    def closed(self, connection: Sweepable) -> None:
        """A connection is gone."""
        self._open.pop(connection, None)
        if not self._open:
            self._none_left.set()

    async def wait_until_none(self) -> None:
        """Returns when no connection is left."""
        await self._none_left.wait()

    def _tick(self) -> None:
        date = formatdate(usegmt=True).encode("ascii")
        self.date_line = b"date: " + date + b"\r\n"
        self._state.default_headers = [(b"date", date)]
        now = self._loop.time()
        for connection in tuple(self._open):
            connection.check_deadlines(now)
        self._timer = self._loop.call_later(self._tick_s, self._tick) if self._open else None

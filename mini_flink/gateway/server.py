"""uvicorn in the gateway's own loop: start on a bound socket, stop without losing a request.

Owns the start and the shut-down of connections. Never installs a signal handler, never
runs a loop, and wakes up once a second at most, and only while there are connections (uvicorn's ``main_loop``
ticks ten times a second). Called by the gateway's process and by the local runner.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.server import ServerState

from mini_flink.gateway.connections import Connections
from mini_flink.gateway.plain import plain_config
from mini_flink.gateway.port import FindDirect, HttpLimits
from mini_flink.gateway.protocol import HttpProtocol

logger = logging.getLogger(__name__)

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
"""An ASGI application."""

BACKLOG = 2048


def _unheard(_: int) -> None:
    """Nobody counts."""


class HttpServer:
    """Serves ``app`` on ``sock``, a bound TCP socket."""

    def __init__(
        self,
        limits: HttpLimits,
        app: App,
        sock: socket.socket,
        *,
        find_direct: FindDirect,
        max_connections: int | None = None,
        refused: Callable[[int], None] = _unheard,
    ) -> None:
        """``find_direct`` says what goes past ASGI; ``refused`` hears of the status of what never came to
        the app.
        """
        self._limits = limits
        self._sock = sock
        self._find_direct = find_direct
        self._max_connections = max_connections
        self._refused = refused
        self._state = ServerState()
        self._config = plain_config(app)

    async def start(self) -> None:
        """Accept connections in the running loop."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        if not self._config.loaded:
            self._config.load()
        self._connections = Connections(
            self._limits, self._find_direct, self._state, self._refused, self._max_connections
        )
        make_protocol = functools.partial(
            HttpProtocol, self._connections, self._config, self._state, {}, asyncio.get_running_loop()
        )
        # A server closes its socket when it stops; this one may have to start again.
        self._server = await asyncio.get_running_loop().create_server(
            make_protocol, sock=self._sock.dup(), backlog=BACKLOG
        )

    async def stop(self, grace_ms: int, idle_ms: int = 0, *, for_good: bool = True) -> None:
        """Stop accepting, answer what is in flight, close; after ``grace_ms`` cut what is left.

        Not ``for_good``: who comes waits in the socket, for the next ``start`` or for another process.

        Connections are left open for ``idle_ms``, to be closed with the answer to their next request: one
        that is closed while idle may meet a request that was sent at the same moment.
        """
        self._server.close()
        if for_good:
            self._sock.close()
        self._connections.draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connections.wait_until_none(), idle_ms / 1000)
        for connection in tuple(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(grace_ms / 1000):
                await self._connections.wait_until_none()
        except TimeoutError:
            logger.warning("%d connections are cut at shut-down", len(self._state.connections))
            await self._cut()

    async def _cut(self) -> None:
        """Not a 503: that would say that nothing was applied."""
        for connection in tuple(self._state.connections):
            connection.transport.abort()
        await self._connections.wait_until_none()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)

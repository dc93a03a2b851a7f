"""A client that puts load on a server and writes down every request and what became of it.

A *chain* is a sequence of values that one connection sends, each after the answer to the one before; chains
run side by side. What a connection loses is written down as status 0 with the reason, and the chain goes on
with its next value on a new connection. Connections that were refused carried no request: they are tried
again and counted apart.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

LIMIT_S = 120.0
RECONNECT_S = 0.02


@dataclass(slots=True)
class Exchange:
    """One request and its answer; ``status`` 0: the connection was cut before there was one."""

    value: Any
    status: int = 0
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def lost(self) -> bool:
        """Whether its connection was cut: nobody knows what became of it."""
        return bool(self.error)

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not with success."""
        return self.lost or self.status >= 300

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class _Connection:
    """Keep-alive HTTP/1.1, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader

    async def ask(self, path: str, exchange: Exchange) -> None:
        body = json.dumps(exchange.value).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = answer.removesuffix("\r\n\r\n").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        content = await self._reader.readexactly(int(headers.get("content-length", 0)))
        exchange.body = json.loads(content) if "json" in headers.get("content-type", "") else content
        exchange.headers = headers
        exchange.status = int(first.split(" ")[1])


class Load:
    """Chains of requests to one path, sent from a thread; ``find_url`` is asked at every connect."""

    def __init__(self, find_url: Callable[[], str], path: str, chains: Iterable[Iterable[Any]]) -> None:
        self.exchanges: list[list[Exchange]] = []
        self.refused = 0
        self.done = 0
        self._find_url = find_url
        self._path = path
        self._chains = list(chains)
        self._stopping = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> Load:
        self._thread.start()
        return self

    def until_done(self, more: int) -> None:
        """Wait until ``more`` requests than now have been answered or lost, or all chains have ended."""
        deadline = time.monotonic() + LIMIT_S
        with self._progress:
            goal = self.done + more
            while self.done < goal and self._thread.is_alive():
                assert time.monotonic() < deadline, f"{self.done} of {goal} requests answered: it is stuck"
                self._progress.wait(0.2)

    def in_flight(self) -> list[Any]:
        """The values that were sent and not answered yet."""
        last = [chain[-1] for chain in self.exchanges if chain]
        return [exchange.value for exchange in last if not exchange.status and not exchange.lost]

    @property
    def at_end(self) -> bool:
        """Whether all chains have been sent."""
        return not self._thread.is_alive()

    def stop(self) -> list[Exchange]:
        """Begin nothing new, and wait for what is under way."""
        self._stopping = True
        return self.join()

    def join(self) -> list[Exchange]:
        """Wait for the end of all chains."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), f"requests are stuck after {self.done} answers"
        return self.all()

    def all(self) -> list[Exchange]:
        """Everything that was sent."""
        return [exchange for chain in self.exchanges for exchange in chain]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for chain in self._chains:
                sent: list[Exchange] = []
                self.exchanges.append(sent)
                group.create_task(self._send(chain, sent))

    async def _send(self, chain: Iterable[Any], sent: list[Exchange]) -> None:
        connection: _Connection | None = None
        for value in chain:
            if self._stopping:
                break
            connection = connection or await self._connect()
            if connection is None:
                break
            exchange = Exchange(value)
            sent.append(exchange)
            try:
                await connection.ask(self._path, exchange)
            except (OSError, asyncio.IncompleteReadError) as error:
                exchange.error = repr(error)
            if exchange.lost or exchange.headers.get("connection") == "close":
                connection.writer.close()
                connection = None
            with self._progress:
                self.done += 1
                self._progress.notify_all()
        if connection is not None:
            connection.writer.close()

    async def _connect(self) -> _Connection | None:
        while not self._stopping:
            host, _, port = self._find_url().removeprefix("http://").partition(":")
            try:
                return _Connection(*await asyncio.open_connection(host, int(port)))
            except OSError:
                self.refused += 1
                await asyncio.sleep(RECONNECT_S)
        return None


def post(url: str, path: str, value: Any) -> Exchange:
    """One request on a connection of its own."""
    (exchange,) = Load(lambda: url, path, [[value]]).start().join()
    return exchange


def post_all(url: str, path: str, chains: Iterable[Iterable[Any]]) -> list[list[Exchange]]:
    """All chains to their end."""
    load = Load(lambda: url, path, chains).start()
    load.join()
    return load.exchanges

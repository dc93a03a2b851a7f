"""A real server in a thread with a small real ``Ingress``, and a client that speaks HTTP by the byte."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import uvloop

from mini_flink.gateway.app import GatewayApp
from mini_flink.gateway.port import JSON_HEADERS, Answer, Done, Refused, Trace
from mini_flink.gateway.routes import SourceRoute
from mini_flink.gateway.server import HttpServer

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Limits:
    max_body_bytes: int = 1 << 20
    max_header_bytes: int = 32 << 10
    max_header_fields: int = 100
    header_timeout_ms: int = 20_000
    body_timeout_ms: int = 20_000
    keep_alive_timeout_ms: int = 20_000


def plain(value: Any) -> Any:
    """What ``json`` makes of a value's parts that are not JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class Echo:
    """Answers each value with itself; or holds the answers back, refuses, raises."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.submitted: list[tuple[int, Any]] = []
        self.held: list[Callable[[], None]] = []
        self.holding = False
        self.ready = True
        self.answers: dict[int, Answer] = {}
        self.error: Exception | None = None

    def submit(
        self, source: int, value: Any, timestamp_ms: int, done: Done, trace: Trace | None = None
    ) -> None:
        if self.error is not None:
            raise self.error
        assert abs(timestamp_ms - time.time() * 1000) < 5000
        self.submitted.append((source, value))
        body = json.dumps({"source": source, "value": value}, default=plain).encode()
        answer = self.answers.get(source, Answer(200, JSON_HEADERS, body))
        if self.holding:
            self.held.append(lambda: done(answer))
        else:
            self.loop.call_soon(done, answer)

    def submit_request(
        self,
        source: int,
        make_value: Callable[[str], Any],
        timestamp_ms: int,
        done: Done,
        trace: Trace | None = None,
    ) -> None:
        self.submit(source, make_value(f"request-{len(self.submitted) + 1}"), timestamp_ms, done)

    def is_ready(self) -> bool:
        return self.ready

    def release(self) -> None:
        """Let go of the answers held so far, oldest first."""
        held, self.held = self.held, []
        for answer in held:
            self.loop.call_soon_threadsafe(answer)

    def refuse(self, reason: str, retry_after_s: int) -> None:
        self.error = Refused(reason, retry_after_s)


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        content: dict[str, Any] = self.json()
        assert content["status"] == self.status
        return content


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def leave(self) -> None:
        """Close with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def post(self, path: str, body: bytes, *header_lines: str, method: str = "POST") -> None:
        self.send(head(method, path, f"Content-Length: {len(body)}", *header_lines), body)

    def read(self, *, method: str = "POST") -> Response:
        """The next whole response."""
        status_line = self.reader.readline()
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        headers: dict[str, str] = {}
        while (line := self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").rstrip("\r\n").partition(": ")
            assert name not in headers, f"{name} twice"
            headers[name] = value
        status = int(status_line.split()[1])
        if method == "HEAD" or status in (100, 204, 304):
            return Response(status, headers, b"")
        return Response(status, headers, self.reader.read(int(headers["content-length"])))

    def ask(self, path: str, body: bytes = b"", *header_lines: str, method: str = "POST") -> Response:
        self.post(path, body, *header_lines, method=method)
        return self.read(method=method)

    def is_at_end(self) -> bool:
        """Does the server end the connection, without a reset and without another byte?"""
        return self.reader.read(1) == b""


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: test", *lines, "", "")).encode("latin-1")


class Served:
    """A server and the thread that runs it."""

    def __init__(self, variant: str, routes: Sequence[SourceRoute], limits: Limits) -> None:
        lane, loop_kind = variant.split("-")
        self.loop = uvloop.new_event_loop() if loop_kind == "uvloop" else asyncio.SelectorEventLoop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.ingress = Echo(self.loop)
        find_direct = (lambda method, url: None) if lane == "asgi" else None
        app = GatewayApp(routes, self.ingress)
        self.server = HttpServer(limits, app, listener, find_direct=find_direct or app.find_direct)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(self.server.start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    def begin_stop(self, grace_ms: int) -> Future[None]:
        """The future of a stop that has begun."""
        stopped = asyncio.run_coroutine_threadsafe(self.server.stop(grace_ms), self.loop)
        eventually(lambda: self.server._connections.draining)
        return stopped

    def connect(self) -> Client:
        return Client(self.port)

    def connections(self) -> int:
        return len(self.server._state.connections)

    def tasks(self) -> int:
        return len(self.server._state.tasks)

    def close(self) -> None:
        self.run(self.server.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Waits for what another thread is about to do."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)

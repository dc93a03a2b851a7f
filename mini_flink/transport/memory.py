"""The transport inside one process: queues in memory, with the losses of the real one.

For the local runner, the test harness and the contract suite. What waits for a process that is closed is
lost, as with sockets; a message to an endpoint that nobody has opened yet waits at the sender. Safe between
threads.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence

from mini_flink.transport.base import MAX_MESSAGE_BYTES, PIPE_MESSAGES


class _Pipe:
    """From one sender to one endpoint; ``waiting`` fills only while nobody has opened that endpoint."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.waiting: deque[bytes] = deque()
        self.in_flight = 0


class MemoryNetwork:
    """Which endpoints are open, and which pipes lead to them; shared by the transports of one test or job."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inboxes: dict[str, MemoryTransport] = {}
        self.pipes: list[_Pipe] = []


class MemoryTransport:
    """One process's end. Killing the process is ``close()``: its inbox and its waiting messages vanish."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._bound: str | None = None
        self._inbox: deque[tuple[_Pipe, bytes]] = deque()
        self._pipes: dict[str, _Pipe] = {}
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._fd = self._reader.fileno()

    def bind(self, endpoint: str) -> None:
        with self._network.lock:
            self._bound = endpoint
            self._network.inboxes[endpoint] = self
            for pipe in self._network.pipes:
                while pipe.endpoint == endpoint and pipe.waiting:
                    self._deliver(pipe, pipe.waiting.popleft())

    def connect(self, peer: str, endpoint: str) -> None:
        existing = self._pipes.get(peer)
        if existing is not None and existing.endpoint == endpoint:
            return
        self.disconnect(peer)
        self._pipes[peer] = pipe = _Pipe(endpoint)
        with self._network.lock:
            self._network.pipes.append(pipe)

    def disconnect(self, peer: str) -> None:
        pipe = self._pipes.pop(peer, None)
        if pipe is not None:
            with self._network.lock:
                self._network.pipes.remove(pipe)

    def send(self, peer: str, message: bytes) -> bool:
        if len(message) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(message)} bytes: its receiver would cut it off")
        pipe = self._pipes.get(peer)
        if pipe is None:
            return False
        with self._network.lock:
            if pipe.in_flight + len(pipe.waiting) >= PIPE_MESSAGES:
                return False
            receiver = self._network.inboxes.get(pipe.endpoint)
            if receiver is None:
                pipe.waiting.append(message)
            else:
                receiver._deliver(pipe, message)
        return True

    def receive(self, limit: int) -> list[bytes]:
        messages: list[bytes] = []
        with self._network.lock:
            while self._inbox and len(messages) < limit:
                pipe, message = self._inbox.popleft()
                pipe.in_flight -= 1
                messages.append(message)
            if not self._inbox:
                self._drain_wake_ups()
        return messages

    def pending(self) -> bool:
        return bool(self._inbox)

    def fileno(self) -> int:
        return self._fd

    def wait(self, timeout_ms: int | None, fds: Sequence[int]) -> set[int]:
        timeout = None if timeout_ms is None else timeout_ms / 1000
        if self.pending():
            timeout = 0.0
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._fd, *fds], [], [], remaining)
            ready = {fd for fd in readable if fd != self._fd}
            if self.pending():
                ready.add(self._fd)
            if ready or (deadline is not None and time.monotonic() >= deadline):
                return ready

    def close(self, linger_ms: int = 0) -> None:  # noqa: ARG002 - what can be delivered was, by send
        for peer in list(self._pipes):
            self.disconnect(peer)
        with self._network.lock:
            if self._bound is not None and self._network.inboxes.get(self._bound) is self:
                del self._network.inboxes[self._bound]
            for pipe, _ in self._inbox:
                pipe.in_flight -= 1
            self._inbox.clear()
            self._reader.close()
            self._writer.close()

    def _deliver(self, pipe: _Pipe, message: bytes) -> None:
        pipe.in_flight += 1
        self._inbox.append((pipe, message))
        # A full pair is as good as one more byte: the reader is awake either way.
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"\0")

    def _drain_wake_ups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

"""The transport between real processes: ZeroMQ PUSH and PULL sockets; the only module that imports ``zmq``.

One PULL is the inbox, one PUSH leads to each peer (a PUSH with several peers deals round-robin, also to a
dead one). Nothing lingers: closing never waits for a peer. Never retries and never counts: see the channels.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence

import zmq

from mini_flink.errors import ConfigError
from mini_flink.transport.base import MAX_MESSAGE_BYTES, PIPE_MESSAGES

# sun_path holds 108 bytes with its final zero.
MAX_IPC_PATH_BYTES = 107
RECONNECT_MS = 5
RECONNECT_MAX_MS = 100


# As plain numbers: the named ones cost a microsecond at every use.
_EVENTS, _POLLIN, _NOBLOCK = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK)


class ZmqTransport:
    """Sockets of one process; all calls come from the one thread that runs its loop."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._inbox = self._context.socket(zmq.PULL)
        self._inbox.setsockopt(zmq.LINGER, 0)
        self._inbox.setsockopt(zmq.RCVHWM, PIPE_MESSAGES)
        self._inbox.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._fd = int(self._inbox.getsockopt(zmq.FD))
        self._bound: str | None = None
        self._pipes: dict[str, tuple[str, zmq.Socket[bytes]]] = {}
        self._watched: tuple[int, ...] = ()
        self._poller = _poller((self._fd,))

    def bind(self, endpoint: str) -> None:
        _check_length(endpoint)
        self._inbox.bind(endpoint)
        self._bound = endpoint

    def connect(self, peer: str, endpoint: str) -> None:
        existing = self._pipes.get(peer)
        if existing is not None and existing[0] == endpoint:
            return
        _check_length(endpoint)
        self.disconnect(peer)
        pipe = self._context.socket(zmq.PUSH)
        pipe.setsockopt(zmq.LINGER, 0)
        pipe.setsockopt(zmq.SNDHWM, PIPE_MESSAGES)
        # The peer may bind a little later than this process connects: messages wait for it.
        pipe.setsockopt(zmq.IMMEDIATE, 0)
        pipe.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        pipe.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        pipe.connect(endpoint)
        self._pipes[peer] = (endpoint, pipe)

    def disconnect(self, peer: str) -> None:
        existing = self._pipes.pop(peer, None)
        if existing is not None:
            existing[1].close()

    def send(self, peer: str, message: bytes) -> bool:
        if len(message) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(message)} bytes: its receiver would cut it off")
        pipe = self._pipes.get(peer)
        if pipe is None:
            return False
        try:
            pipe[1].send(message, _NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self, limit: int) -> list[bytes]:
        messages: list[bytes] = []
        receive = self._inbox.recv
        try:
            # Asked before each one: an exception at the end of every drain would cost more.
            while len(messages) < limit and self.pending():
                messages.append(receive(_NOBLOCK))
        except zmq.Again:
            pass
        return messages

    def pending(self) -> bool:
        return bool(int(self._inbox.getsockopt(_EVENTS)) & _POLLIN)

    def fileno(self) -> int:
        return self._fd

    def wait(self, timeout_ms: int | None, fds: Sequence[int]) -> set[int]:
        watched = tuple(fds)
        if watched != self._watched:
            self._watched = watched
            self._poller = _poller((self._fd, *watched))
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        if self.pending():
            return self._poll(0) | {self._fd}
        while True:
            ready = self._poll(_remaining_ms(deadline))
            # The descriptor also wakes for ZeroMQ's own business, such as a new connection.
            if self._fd in ready and not self.pending():
                ready.discard(self._fd)
            if ready or (deadline is not None and time.monotonic() >= deadline):
                return ready

    def close(self, linger_ms: int = 0) -> None:
        for _, pipe in self._pipes.values():
            pipe.close(linger_ms)
        self._pipes.clear()
        self._inbox.close()
        self._context.term()
        if self._bound is not None and self._bound.startswith("ipc://"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._bound.removeprefix("ipc://"))

    def _poll(self, timeout_ms: int | None) -> set[int]:
        return {fd for fd, _ in self._poller.poll(timeout_ms)}


def _poller(fds: Sequence[int]) -> select.poll:
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return poller


def _remaining_ms(deadline: float | None) -> int | None:
    if deadline is None:
        return None
    # Rounded up: rounded down, the last millisecond would be spent spinning.
    return max(0, int((deadline - time.monotonic()) * 1000) + 1)


def _check_length(endpoint: str) -> None:
    path = endpoint.removeprefix("ipc://")
    length = len(os.fsencode(path))
    if path != endpoint and length > MAX_IPC_PATH_BYTES:
        raise ConfigError(
            f"the socket path {path} has {length} characters; the system allows {MAX_IPC_PATH_BYTES}",
            help="choose a shorter folder with --runtime-dir",
        )

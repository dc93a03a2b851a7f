"""What a process needs of its transport: one inbox, one pipe to each peer, nothing that blocks.

Owns the protocol and the form of endpoints. Never promises delivery: a message that was accepted may be lost
when either side dies, so numbers, acknowledgements and resending live in the channels above. Called by the
loops of workers, gateways and the supervisor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A larger message raises ValueError at the sender: its receiver would cut the connection."""

PIPE_MESSAGES = 256
"""Messages that wait on either side of one pipe before ``send`` returns False."""


class Transport(Protocol):
    """One process's end of every pipe it has."""

    def bind(self, endpoint: str) -> None:
        """Open the inbox under ``endpoint``; once per transport."""

    def connect(self, peer: str, endpoint: str) -> None:
        """Open a pipe to ``peer``; an older one to another endpoint is dropped with what waits in it."""

    def disconnect(self, peer: str) -> None:
        """Drop the pipe to ``peer`` and what waits in it; nothing happens if there is none."""

    def send(self, peer: str, message: bytes) -> bool:
        """Queue a message without waiting; False if there is no pipe to ``peer`` or it is full."""

    def receive(self, limit: int) -> list[bytes]:
        """Up to ``limit`` messages that have arrived, in order per peer; never waits."""

    def pending(self) -> bool:
        """Whether a message can be received now.

        The descriptor is edge-triggered: who waits on it elsewhere (an event loop) asks this before going to
        sleep, and after every send.
        """

    def fileno(self) -> int:
        """A descriptor that becomes readable when messages may have arrived."""

    def wait(self, timeout_ms: int | None, fds: Sequence[int]) -> set[int]:
        """Sleep until a message, one of ``fds`` is readable, or the time is over; returns the readable ones.

        ``fileno()`` is among them when a message can be received. ``None`` waits without end.
        """

    def close(self, linger_ms: int = 0) -> None:
        """Close every pipe and the inbox; what was not received is lost.

        What was sent and has not left yet is lost too, unless it can leave within ``linger_ms``.
        """


def ipc_endpoint(runtime_dir: str, name: str, incarnation: int) -> str:
    """The endpoint of one incarnation of a process on this host.

    The incarnation is part of it: messages to a dead process must never reach its replacement.
    """
    return f"ipc://{runtime_dir}/{name}.{incarnation}"

"""What a machine asks its process to do, in this order, before it is asked anything again."""

from __future__ import annotations

from typing import NamedTuple


class Connect(NamedTuple):
    """Send to ``peer`` at ``endpoint`` from now on; what an older connection still holds is lost."""

    peer: str
    endpoint: str


class Send(NamedTuple):
    """Give the message to the transport; it may be lost."""

    peer: str
    message: bytes


class Append(NamedTuple):
    """Write commit ``number`` to the log."""

    number: int
    payload: bytes


class Sync(NamedTuple):
    """Make everything appended so far durable before going on."""


class Flush(NamedTuple):
    """Write ``items`` to the table in one transaction with ``number``; report back with ``flushed``.

    With a ``snapshot`` the table then holds this worker's part of that epoch, and nothing newer: a view of it
    is to be opened before anything else is written.
    """

    items: dict[bytes, bytes | None]
    number: int
    snapshot: int = 0


class Recycle(NamedTuple):
    """The table holds all commits up to ``number``: their log may go."""

    number: int


Effect = Connect | Send | Append | Sync | Flush | Recycle

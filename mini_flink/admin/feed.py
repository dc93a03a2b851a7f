"""Server-sent events: one frame for all who look, a short ring for those who come back.

A client that does not keep up loses the oldest of what waits for it: the newest tick is what counts.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

RING = 60
WAITING = 8
STREAMS = 32
RETRY_MS = 2000


class Viewer:
    """One open stream."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque(maxlen=WAITING)
        self._come = asyncio.Event()

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._come.set()

    async def next(self) -> bytes:
        """All that has come since the last call."""
        await self._come.wait()
        self._come.clear()
        frames, self._frames = b"".join(self._frames), deque(maxlen=WAITING)
        return frames


class Feed:
    """All open streams. Ids name this process too: numbers begin anew when it is started again."""

    def __init__(self, hello: Callable[[], dict[str, Any]]) -> None:
        self._hello = hello
        self._run = secrets.token_hex(4)
        self._count = 0
        self._ring: deque[tuple[str, bytes]] = deque(maxlen=RING)
        self._viewers: set[Viewer] = set()

    @property
    def is_full(self) -> bool:
        return len(self._viewers) >= STREAMS

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """To everybody, made once."""
        self._count += 1
        id = f"{self._run}-{self._count}"
        frame = _frame(kind, data, id)
        self._ring.append((id, frame))
        for viewer in self._viewers:
            viewer.put(frame)

    def open(self, last_id: str) -> Viewer:
        """A new stream: what it has missed if that is still there, else a greeting with how things stand."""
        viewer = Viewer()
        ids = [id for id, _ in self._ring]
        if last_id in ids:
            missed = b"".join(frame for _, frame in list(self._ring)[ids.index(last_id) + 1 :])
            viewer.put(b"retry: %d\n\n" % RETRY_MS + missed)
        else:
            viewer.put(_frame("hello", self._hello(), ids[-1] if ids else "", retry=True))
        self._viewers.add(viewer)
        return viewer

    def close(self, viewer: Viewer) -> None:
        """It has gone."""
        self._viewers.discard(viewer)


def _frame(kind: str, data: dict[str, Any], id: str, *, retry: bool = False) -> bytes:
    head = f"retry: {RETRY_MS}\n" if retry else ""
    head += f"id: {id}\n" if id else ""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()

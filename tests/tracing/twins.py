"""A whole job in this process whose spans are kept in memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from mini_flink import execution
from mini_flink.config import Settings
from mini_flink.graph import JobGraph
from mini_flink.runners.local import LocalDoor
from mini_flink.runners.twins import TwinJob
from mini_flink.tracing.memory import MemorySpan, MemoryTracing

NO_HEADERS: Mapping[str, str] = {}


class Response(NamedTuple):
    status: int
    headers: dict[str, str]


class Traced:
    """The job, its door and its spans. It runs only while ``post`` or ``until`` waits."""

    def __init__(self, build: Callable[[], None], **settings: Any) -> None:
        graphs: list[JobGraph] = []
        with execution.executing_with(graphs.append):
            build()
        checked = Settings.from_dict({"trace_ratio": 1, **settings})
        self.tracing = MemoryTracing()
        self.job = TwinJob(graphs[0], checked, 2, lambda _: None, self.tracing)
        self.job.start()
        self.door = LocalDoor(self.job, checked)
        self.door.open(self.job)

    @property
    def spans(self) -> list[MemorySpan]:
        return self.tracing.spans

    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def one(self, name: str) -> MemorySpan:
        (span,) = [each for each in self.spans if each.name == name]
        return span

    def parent(self, span: MemorySpan) -> MemorySpan:
        (above,) = [each for each in self.spans if each.context == span.parent]
        return above

    def send(self, path: str, value: Any, headers: Mapping[str, str] = NO_HEADERS) -> asyncio.Task[Response]:
        """A request that has been given to the door when the loop has run once."""
        return asyncio.create_task(self._send(path, value, headers))

    async def _send(self, path: str, value: Any, headers: Mapping[str, str]) -> Response:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(value).encode(), "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        raw = [(name.encode(), text.encode()) for name, text in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
        await self.door.app({**scope, "query_string": b"", "headers": raw}, receive, send)
        start = sent[0]
        return Response(start["status"], {name.decode(): text.decode() for name, text in start["headers"]})

    async def until(self, request: asyncio.Task[Response]) -> Response:
        """Run the job until the request is answered."""
        while not request.done():
            self.job.turn()
            self.door.ingress.tick(time.monotonic())
            await asyncio.sleep(0)
        return request.result()

    async def post(self, path: str, value: Any, headers: Mapping[str, str] = NO_HEADERS) -> Response:
        return await self.until(self.send(path, value, headers))


@asynccontextmanager
async def traced(build: Callable[[], None], **settings: Any) -> AsyncIterator[Traced]:
    """A job of two workers that has started."""
    job = Traced(build, **settings)
    try:
        yield job
    finally:
        job.door.close()
        job.job.close()

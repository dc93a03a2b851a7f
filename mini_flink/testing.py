"""Test a job in one process: real operators, commits, recovery and door; log, disk and network in memory.

from mini_flink.testing import JobHarness

def test_total_survives_a_crash():
    with JobHarness("job.py", workers=2) as job:
        assert job.post("/total", {"key": "a", "amount": 3}).json() == {"key": "a", "total": 3}
        job.crash(worker=0)
        assert job.post("/total", {"key": "a", "amount": 4}).json() == {"key": "a", "total": 7}
"""

from __future__ import annotations

import asyncio
import json as json_module
import os
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mini_flink import execution, jobs
from mini_flink.config import Settings
from mini_flink.errors import JobError
from mini_flink.graph import JobGraph
from mini_flink.runners.local import LocalDoor
from mini_flink.runners.twins import TwinJob

Job = str | os.PathLike[str] | Callable[[], object]


@dataclass(frozen=True, slots=True)
class HarnessReply:
    """What a client would have got."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body, decoded."""
        return json_module.loads(self.body)


class JobHarness:
    """A running job. ``job`` is a file, a module's name, or a function that builds and executes one.

    ``settings`` are those of ``serve``, by name. What a failed record would have written to the log is in
    ``log``. Close it, or use it in a ``with``.

    Raises JobError if the job cannot be built, as ``serve`` would say it.
    """

    def __init__(self, job: Job, *args: str, workers: int = 1, **settings: Any) -> None:
        self.log: list[str] = []
        self._stack = ExitStack()
        try:
            graph = self._load(job, args)
            self._settings = Settings(**settings)
            self._job = TwinJob(graph, self._settings, workers, self.log.append)
            self._stack.callback(self._job.close)
            self._job.start()
            self._loop = asyncio.SelectorEventLoop()
            self._stack.callback(self._loop.close)
            self._door = self._loop.run_until_complete(self._open_door())
            self._stack.callback(self._door.close)
        except BaseException:
            self._stack.close()
            raise

    def _load(self, job: Job, args: tuple[str, ...]) -> JobGraph:
        graphs: list[JobGraph] = []
        self._stack.enter_context(execution.executing_with(graphs.append))
        if callable(job):
            job()
            if not graphs:
                raise JobError("the function builds no graph", help=jobs.EXECUTE_HINT)
            return graphs[0]
        # The job becomes __main__, as when it is served; what was there comes back at the end.
        main, argv, path = sys.modules["__main__"], list(sys.argv), list(sys.path)
        self._stack.callback(self._restore, main, argv, path)
        return jobs.load_graph(jobs.JobTarget.parse(os.fspath(job), args), quiet=False)

    @staticmethod
    def _restore(main: Any, argv: list[str], path: list[str]) -> None:
        sys.modules["__main__"] = main
        sys.argv[:] = argv
        sys.path[:] = path

    async def _open_door(self) -> LocalDoor:
        door = LocalDoor(self._job, self._settings)
        door.open(self._job)
        return door

    # --- requests ---------------------------------------------------------------------------------------

    def post(self, path: str, json: Any = None, **options: Any) -> HarnessReply:
        """``POST`` a JSON value; see ``request``."""
        return self.request("POST", path, json=json, **options)

    def get(self, path: str, **options: Any) -> HarnessReply:
        """``GET``; see ``request``."""
        return self.request("GET", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HarnessReply:
        """One request through the door, and its reply; ``body`` as it is, else ``json`` encoded."""
        if body is None:
            body = b"" if json is None else json_module.dumps(json).encode()
        return self._loop.run_until_complete(self._exchange(method, path, body, headers or {}))

    async def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> HarnessReply:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        exchange = asyncio.ensure_future(self._door.app(_scope(method, path, headers), receive, send))
        while not exchange.done():
            await self._turn()
        exchange.result()
        return _reply(sent)

    async def _turn(self) -> None:
        if self._job.turn():
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.0005)

    # --- what may happen to it --------------------------------------------------------------------------

    def crash(self, worker: int | None = None) -> None:
        """Kill a worker (all of them without a number) as ``kill -9`` does, and start it again."""
        for place in self._job.workers if worker is None else [self._job.workers[worker]]:
            place.crash()
        for place in self._job.workers:
            if place.worker is None:
                place.start()
        self._loop.run_until_complete(self._announce())

    async def _announce(self) -> None:
        peers = self._job.peers()
        self._door.link.meet(peers)
        for place in self._job.workers:
            if place.worker is not None:
                place.worker.meet(peers)

    def run_until_idle(self, timeout_s: float = 10.0) -> None:
        """Let the job finish what it is doing, also what no reply waits for."""
        until = time.monotonic() + timeout_s
        while self._job.turn():
            self._loop.run_until_complete(asyncio.sleep(0))
            if time.monotonic() > until:
                raise TimeoutError(f"the job is still busy after {timeout_s} s")

    def close(self) -> None:
        """End the job; the functions' ``close`` is called."""
        self._stack.close()

    def __enter__(self) -> JobHarness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _scope(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    url = urlsplit(path)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method.upper(),
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": raw,
    }


def _reply(sent: list[MutableMapping[str, Any]]) -> HarnessReply:
    start = sent[0]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return HarnessReply(start["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))

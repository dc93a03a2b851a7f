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
from mini_flink.gateway import problem
from mini_flink.gateway.port import Answer
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

    ``settings`` are those of ``serve``, by name, and are checked as there; ``mini_flink.toml`` and variables
    are not read. What belongs to processes, files and sockets has no meaning here: host and port, the data
    and runtime folders, gateways, the limits and timeouts of headers, bodies and connections (but for
    ``max_body_bytes``), ``hang_timeout_ms``, ``shutdown_grace_ms``, ``log_segment_bytes``,
    ``state_map_bytes``, ``accept_inconsistent_state``. What a failed record would have written to the log is
    in ``log``. Close it, or use it in a ``with``.

    Raises JobError if the job cannot be built, as ``serve`` would say it, and ConfigError for a setting.
    """

    def __init__(self, job: Job, *args: str, workers: int = 1, **settings: Any) -> None:
        self.log: list[str] = []
        self._stack = ExitStack()
        try:
            self._settings = Settings.from_dict({**settings, "workers": workers})
            graph = self._load(job, args)
            self._job = TwinJob(graph, self._settings, self._settings.workers or 1, self.log.append)
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
        limit = self._settings.max_body_bytes
        if len(body) > limit:
            return _refused(problem.body_too_large(limit))
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
        busy = self._job.turn()
        # User code may have taken long, here, in the same thread: who has waited too long hears that first.
        self._door.ingress.tick(time.monotonic())
        if busy:
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


def _refused(answer: Answer) -> HarnessReply:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return HarnessReply(answer.status, headers, answer.body)


def _reply(sent: list[MutableMapping[str, Any]]) -> HarnessReply:
    start = sent[0]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return HarnessReply(start["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))

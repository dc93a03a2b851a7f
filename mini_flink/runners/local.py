"""``python job.py``: the job in this one process, on the in-memory twins.

A job with requests is served until Ctrl-C, one without runs to its end. Nothing is durable, and that is said
first. Works wherever Python does: nothing here is Linux's own.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from dataclasses import replace
from types import ModuleType

from mini_flink import config_layers
from mini_flink.config import Settings
from mini_flink.core.base import Identity
from mini_flink.core.pending import PendingMap
from mini_flink.errors import BusyError, MiniFlinkError
from mini_flink.failures import FailureLog, render_error
from mini_flink.gateway.app import GatewayApp
from mini_flink.gateway.ingress import GatewayIngress
from mini_flink.gateway.link import GatewayLink
from mini_flink.gateway.port import Done
from mini_flink.gateway.server import HttpServer
from mini_flink.gateway.sources import routes_of
from mini_flink.gateway.tracing import RequestTracer
from mini_flink.graph import JobGraph
from mini_flink.ids import gateway_name
from mini_flink.runners.twins import FOLDER_ID, TwinJob
from mini_flink.source import short_path
from mini_flink.supervisor.words import curl_line, routes
from mini_flink.transport.memory import MemoryTransport

_TURNS_AT_ONCE = 16


def run(graph: JobGraph) -> None:
    """Run a job here: serve its requests until interrupted, or its collections to their end.

    What cannot be run ends the process with a few lines, not with a traceback.
    """
    try:
        _run(graph)
    except MiniFlinkError as error:
        say(render_error(error))
        raise SystemExit(error.exit_code) from error


def _run(graph: JobGraph) -> None:
    settings = config_layers.resolve({}, environment=os.environ, directory=os.getcwd())
    settings = replace(
        settings, dev=False
    )  # what failures show to clients is for `serve`, which sees to whom
    job = TwinJob(graph, settings, settings.workers or 1, say)
    job.start()
    if job.plan.request_sources:
        _serve(job, graph, settings)
    else:
        while job.turn():
            pass
    job.close()


def say(text: str) -> None:
    """To the person at the terminal."""
    sys.stderr.write(text if text.endswith("\n") else f"{text}\n")


def _raise(error: Exception) -> None:
    raise error


class LocalDoor:
    """The gateway of a twin job, in the running loop."""

    def __init__(self, job: TwinJob, settings: Settings) -> None:
        identity = Identity(gateway_name(0), 1, 1, job.gateway_endpoint)
        pending: PendingMap[Done] = PendingMap(
            identity,
            0,
            job.plan.workers,
            capacity=settings.pending_capacity,
            window_bytes=settings.channel_window_bytes,
        )
        transport = MemoryTransport(job.network)
        transport.bind(job.gateway_endpoint)
        failures = FailureLog(full_trace=settings.full_trace)
        self.ingress = GatewayIngress(pending, job.plan, FOLDER_ID, settings, failures, job.tell, self._wake)
        self.link = GatewayLink(pending, self.ingress, transport, lambda _: None, _raise)
        tracer = None if job.tracing is None else RequestTracer(job.tracing, settings.trace_ratio)
        self.app = GatewayApp(routes_of(job.plan), self.ingress, tracer=tracer)
        self._transport = transport

    def open(self, job: TwinJob) -> None:
        """Meet the workers."""
        self.link.start(job.peers(gateway_name(0)))
        self.ingress.ready = True

    def _wake(self) -> None:
        self.link.wake()

    def close(self) -> None:
        """Leave the loop."""
        self.link.stop()
        self._transport.close()


class _Pump:
    """Turns the workers whenever something arrives for them or is due."""

    def __init__(self, job: TwinJob, ingress: GatewayIngress) -> None:
        self._job = job
        self._ingress = ingress
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        for worker in job.workers:
            if worker.transport is not None:
                self._loop.add_reader(worker.transport.fileno(), self._run)
        self._run()

    def _run(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _ in range(_TURNS_AT_ONCE):
            busy = self._job.turn()
            # User code may have taken long, here, in the same thread: who waited too long hears that first.
            self._ingress.tick(time.monotonic())
            if not busy:
                break
        now = time.monotonic()
        due = self._job.due_s(now)
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - now), self._run)

    def stop(self) -> None:
        """Leave the loop."""
        if self._timer is not None:
            self._timer.cancel()
        for worker in self._job.workers:
            if worker.transport is not None:
                self._loop.remove_reader(worker.transport.fileno())


def _serve(job: TwinJob, graph: JobGraph, settings: Settings) -> None:
    sock = _bound_socket(settings)
    try:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(_serve_forever(job, graph, settings, sock))
    except KeyboardInterrupt:
        say("Stopped; the state is gone.")


def _bound_socket(settings: Settings) -> socket.socket:
    sock = socket.socket()
    if sys.platform != "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as error:
        sock.close()
        raise BusyError(
            f"port {settings.port} on {settings.host} cannot be had: {error.strerror}",
            help="stop what listens there, or set MINI_FLINK_PORT to another one",
        ) from error
    return sock


def _say_ready(job: TwinJob, graph: JobGraph, sock: socket.socket) -> None:
    """Only when it is true: whoever reads it may send a request at once."""
    host, port = sock.getsockname()[:2]
    say(f"{job.plan.job_name}: http://{host}:{port} in this one process.")
    say(f"Serves {routes(graph)}. Ctrl-C stops.")
    main = sys.modules["__main__"]
    attempt = curl_line(graph, str(main.__doc__ or ""), f"http://{host}:{port}")
    if attempt:
        say(f"Try {attempt}")
    say("Nothing is durable: the state ends with the process.")
    say(f"For durable state and several processes: python -m mini_flink serve {_job_text(main, graph)}")


def _job_text(main: ModuleType, graph: JobGraph) -> str:
    """What ``serve`` is to be given for the job that Python runs: a module's name, or a file."""
    spec = main.__spec__
    return short_path(graph.location.file) if spec is None else spec.name.removesuffix(".__main__")


async def _serve_forever(job: TwinJob, graph: JobGraph, settings: Settings, sock: socket.socket) -> None:
    door = LocalDoor(job, settings)
    door.open(job)
    pump = _Pump(job, door.ingress)
    server = HttpServer(settings, door.app, sock, find_direct=door.app.find_direct)
    await server.start()
    _say_ready(job, graph, sock)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop(settings.shutdown_grace_ms)
        pump.stop()
        door.close()

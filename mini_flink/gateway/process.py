"""The gateway process: HTTP on one side, channels to the workers on the other, one uvloop between them.

Called as ``python -m mini_flink.gateway SPEC``. It holds nothing durable: when it dies its clients see a
reset, the supervisor starts the next incarnation on the same listening socket, and the workers forget this
one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
import traceback
from collections.abc import Coroutine
from typing import Any

import setproctitle
import uvloop

from mini_flink import console, faults, wire
from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.core.base import Identity
from mini_flink.core.pending import PendingMap
from mini_flink.errors import EXIT_INTERNAL, MiniFlinkError
from mini_flink.example_body import example_body
from mini_flink.failures import FailureLog, render_error, render_running
from mini_flink.faults import crash_point
from mini_flink.gateway.app import GatewayApp, exchange
from mini_flink.gateway.dev import DevDoor
from mini_flink.gateway.ingress import GatewayIngress
from mini_flink.gateway.link import GatewayLink
from mini_flink.gateway.port import Done
from mini_flink.gateway.server import HttpServer
from mini_flink.gateway.sources import routes_of
from mini_flink.gateway.tracing import RequestTracer
from mini_flink.ids import SUPERVISOR
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.metrics import OperatorCounters, Publisher, Registry, beside
from mini_flink.pinned import PinnedSources
from mini_flink.progress import Page
from mini_flink.spec import SERVE, STANDBY, ProcessSpec, check_fingerprint
from mini_flink.tracing.opening import open_tracing
from mini_flink.transport.zmq import ZmqTransport

PUBLISH_INTERVAL_S = 0.25
LAST_WORD_MS = 1000
PROBE_SHOWN_BYTES = 500


class GatewayProcess:
    """One gateway, from its specification to its end."""

    def __init__(self, spec: ProcessSpec) -> None:
        self._spec = spec
        self._settings = Settings.from_dict(spec.settings)
        self._transport = ZmqTransport()
        self._transport.bind(spec.endpoint)
        self._transport.connect(SUPERVISOR, spec.supervisor_endpoint)

    def run(self) -> int:
        """Serve; the exit code."""
        try:
            sources = PinnedSources.read(self._spec.sources)
            graph = load_graph(JobTarget.from_dict(self._spec.job), quiet=True, sources=sources)
            console.install_logging()
            logging.getLogger("uvicorn").setLevel(logging.WARNING)
            check_fingerprint(self._spec, graph)
            self._graph = graph
            self._plan = plans.build(graph, self._spec.workers, self._spec.numbers, self._spec.parallelisms)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except MiniFlinkError as error:
            self._tell(wire.FAILED, {"text": render_error(error), "exit_code": error.exit_code})
            self._transport.close(linger_ms=LAST_WORD_MS)
            return error.exit_code
        self._transport.close()
        return 0

    async def _serve(self) -> None:
        spec, settings = self._spec, self._settings
        self._stopped = asyncio.Event()
        self._let_go = asyncio.Event()
        self._doors_closed = False
        self._begun = asyncio.Event()
        self._told_held = spec.mode == SERVE
        self._door_number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._grace_ms = settings.shutdown_grace_ms
        self._page = Page(spec.page_path, spec.incarnation)
        identity = Identity(spec.name, spec.incarnation, spec.generation, spec.endpoint)
        self._failures = FailureLog(full_trace=settings.full_trace)
        self._pending: PendingMap[Done] = PendingMap(
            identity,
            spec.index,
            spec.workers,
            capacity=settings.pending_capacity,
            window_bytes=settings.channel_window_bytes,
        )
        self._ingress = GatewayIngress(
            self._pending,
            self._plan,
            spec.folder_id,
            settings,
            self._failures,
            console.event,
            self._wake,
            explains=settings.dev,
        )
        self._dev = self._dev_door() if settings.dev else None
        self._link = GatewayLink(
            self._pending, self._ingress, self._transport, self._control, self._die, self._check_drained
        )
        sock = socket.socket(fileno=spec.listen_fd)
        metrics = Registry(lambda text: console.event("warn", text, name="metrics.unpublished"))
        self._publisher = Publisher(beside(spec.page_path), metrics)
        self._sources = {
            number: OperatorCounters(metrics, self._plan.operators[number].uid, spec.index)
            for number in self._ingress.source_counts()
        }
        tracing = open_tracing(settings, self._plan.job_name, spec.name, spec.incarnation, console.event)
        tracer = None if tracing is None else RequestTracer(tracing, settings.trace_ratio)
        routes, noticed = routes_of(self._plan), self._link.activity.set
        self._app = GatewayApp(routes, self._ingress, metrics, noticed, self._dev, tracer)
        self._server = HttpServer(
            settings, self._app, sock, find_direct=self._app.find_direct, refused=self._app.refusals.count
        )
        loop = asyncio.get_running_loop()
        loop.add_reader(spec.alive_fd, self._orphaned)
        self._at_close = self._counts()
        if spec.draining:
            self._ingress.drain()
        if spec.mode != SERVE:
            self._ingress.hold()
        self._link.start(spec.peers)  # on standby too: workers forget what was for a dead predecessor
        if spec.mode == STANDBY:
            crash_point("on_standby")
            self._tell_ready()
            await self._let_go.wait()
        else:
            await self._link.all_met.wait()
            await self._begin()
        publisher = asyncio.create_task(self._publish_regularly())
        await self._stopped.wait()
        self._ingress.closed = True
        if not self._doors_closed:
            await self._server.stop(self._grace_ms)
        publisher.cancel()
        self._publish()
        self._ingress.tell(self._failures.close())
        self._link.stop()
        if tracing is not None:
            tracing.close()
        self._page.idle()

    def _dev_door(self) -> DevDoor:
        """Lines are for a terminal only."""
        says = self._settings.access_log and not console.is_json() and os.isatty(2)
        sources = self._plan.request_sources
        examples = {source.number: example_body(self._graph, source.node) for source in sources}
        dev = DevDoor(self._spec.page_url, _say_answered if says else None, examples)
        self._ingress.watch_keys(dev.hear_key)
        return dev

    async def _begin(self) -> None:
        """Every worker is there: accept connections, and say so."""
        await self._server.start()
        self._ingress.ready = True
        self._begun.set()
        self._tell_ready()
        self._check_drained()

    def _tell_ready(self, refused: int = 0) -> None:
        generation = self._pending.identity.generation
        self._tell(wire.READY, {"pid": os.getpid(), "generation": generation, "refused": refused})

    # --- drained by an operator -------------------------------------------------------------------------

    def _set_door(self, data: dict[str, Any]) -> None:
        """Let requests in or not; the supervisor hears once it is so, and who was let in has an answer."""
        if data["open"]:
            self._ingress.resume()
        elif not self._ingress.draining:
            self._at_close = self._counts()
            self._ingress.drain()
        self._door_number = data["number"]
        self._check_drained()

    def _tell_door(self) -> None:
        """With what has become of the requests that were in flight when the door was closed."""
        number, self._door_number = self._door_number, 0
        answered, timed_out = (now - then for now, then in zip(self._counts(), self._at_close, strict=True))
        self._publish()  # whoever hears of it may look at the page next
        self._tell(wire.DOOR_SET, {"number": number, "answered": answered, "timed_out": timed_out})

    def _counts(self) -> tuple[int, int]:
        counters = self._pending.counters
        return counters.answered, counters.timed_out

    # --- from one generation to the next ----------------------------------------------------------------

    async def _hold(self, data: dict[str, Any]) -> None:
        """Let nobody in any more; or, before that, do not even accept, and answer who is there."""
        if data.get("close_doors") and self._begun.is_set():
            self._doors_closed = True
            await self._server.stop(data["grace_ms"], data["idle_ms"], for_good=False)
            if not self._doors_closed:  # it has all been called off meanwhile
                await self._server.start()
                return
        self._ingress.hold()
        crash_point("after_hold")
        self._told_held = False
        self._check_drained()

    def _check_drained(self) -> None:
        """Asked whenever something came or left: the supervisor hears it once."""
        if self._door_number and (self._ingress.at_rest or not self._ingress.draining):
            self._tell_door()
        if not self._told_held and self._ingress.drained:
            self._told_held = True
            self._publish()  # it may be replaced, and then it is killed: what it counted goes on
            self._tell(wire.HELD, {})

    async def _go(self, data: dict[str, Any]) -> None:
        """Let everybody in again, with other workers if there is a new generation."""
        if self._spec.mode == STANDBY and not self._let_go.is_set():
            self._let_go.set()
            self._pending.abandon()
            await self._meet_generation(data)
            await self._begin()
        elif data["generation"] != self._pending.identity.generation:
            await self._meet_generation(data)
        await self._begun.wait()
        await self._open_doors()
        crash_point("before_release")
        self._told_held = True
        self._tell_ready(refused=self._ingress.release())

    async def _open_doors(self) -> None:
        closed, self._doors_closed = self._doors_closed, False
        if closed and self._ingress.holding:
            await self._server.start()

    async def _meet_generation(self, data: dict[str, Any]) -> None:
        self._plan = plans.build(self._graph, data["workers"], data["numbers"], data["parallelisms"])
        self._ingress.change_generation(data["generation"], self._plan)
        self._link.meet_generation(data["peers"])
        await self._link.all_met.wait()

    async def _probe(self, data: dict[str, Any]) -> None:
        """Ask workers on trial what the user wants to know; without a request it is enough to meet them."""
        spec = self._spec
        go = {"workers": spec.workers, "numbers": spec.numbers, "parallelisms": spec.parallelisms}
        await self._meet_generation({**go, "generation": spec.generation, "peers": data["peers"]})
        request = data["request"]
        if not request:
            self._tell(wire.PROBED, {"status": None})
            return
        draining = self._ingress.draining
        self._ingress.resume()  # the probe comes from the operator, and nobody else can come
        self._ingress.release()
        status, body = await exchange(
            self._app, request["method"], request["path"], request.get("headers", {}), request["body"]
        )
        self._ingress.hold()
        if draining:
            self._ingress.drain()
        # What is not acknowledged yet would be sent again to the workers that are to keep what they do.
        self._pending.abandon()
        shown = body[:PROBE_SHOWN_BYTES].decode(errors="replace")
        self._tell(wire.PROBED, {"status": status, "body": shown})

    # --- messages ---------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._link.wake()

    def _tell(self, kind: int, data: dict[str, Any]) -> None:
        spec = self._spec
        self._transport.send(
            SUPERVISOR, wire.encode_control(kind, spec.name, spec.incarnation, spec.generation, data)
        )

    def _die(self, error: BaseException) -> None:
        """The channels have failed: the next incarnation starts from what the workers know."""
        said = "".join(traceback.format_exception(error))
        plain = f"{type(error).__name__}\n" + "".join(traceback.format_tb(error.__traceback__))
        console.event("error", said, name="gateway.failed", plain=plain, error=type(error).__name__)
        console.finish()
        os._exit(EXIT_INTERNAL)

    def _orphaned(self) -> None:
        """The supervisor is gone; a new one starts new gateways."""
        console.finish()
        os._exit(0)

    def _control(self, message: wire.Control) -> None:
        if message.kind == wire.PEERS:
            self._link.meet(message.data)
        elif message.kind == wire.HOLD:
            self._run(self._hold(message.data))
        elif message.kind == wire.GO:
            self._run(self._go(message.data))
        elif message.kind == wire.DOOR:
            self._set_door(message.data)
        elif message.kind == wire.PROBE:
            self._run(self._probe(message.data))
        elif message.kind == wire.STOP:
            self._grace_ms = int(message.data.get("grace_ms", self._grace_ms))
            self._stopped.set()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._die(error)

    async def _publish_regularly(self) -> None:
        """Counters for whoever looks; nothing is written while nothing happens."""
        while True:
            await self._link.activity.wait()
            self._link.activity.clear()
            self._publish()
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    def _publish(self) -> None:
        self._ingress.tell(self._failures.due(time.time_ns() // 1_000_000))
        if self._dev is not None:
            self._dev.tick()
        self._page.idle()  # a sign of work
        self._page.publish(self._pending.statistics())
        for number, counts in self._ingress.source_counts().items():
            self._page.publish_operator(number, *counts)
            self._sources[number].set(*counts)
        self._page.set("pending", self._ingress.pending)
        self._publisher.publish()


def _say_answered(line: str) -> None:
    console.event("info", line, name="request.answered")


def main(argv: list[str]) -> int:
    """Be the gateway that the specification in ``argv[1]`` describes."""
    spec = ProcessSpec.read(argv[1])
    faults.enable(spec.name)
    setproctitle.setproctitle(f"mini_flink {spec.label}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    console.choose(spec.log, os.environ, spec.job_name)
    console.install(spec.label, spec.console_lock)
    # The supervisor asks a process that hangs where it is.
    console.show_place_on(signal.SIGUSR1, render_running)
    return GatewayProcess(spec).run()

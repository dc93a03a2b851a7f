"""The gateway as an ASGI application, and the endpoints behind it.

Owns: an endpoint per source (body to value to ``Ingress``), health, and the ASGI side of every request that
does not take the protocol's fast lane. Never touches a socket. ``protocol`` calls the endpoints of the fast
lane itself, uvicorn calls the application for all other requests; both give the same answers.

The only broad ``except`` of the gateway stands in ``SourceEndpoint._let_in``: the HTTP boundary.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from mini_flink.gateway import problem
from mini_flink.gateway.bodies import (
    NO_PARAMS,
    ConflictError,
    Incoming,
    ParameterError,
    request_maker,
    value_maker,
)
from mini_flink.gateway.dev import DevDoor, Submit
from mini_flink.gateway.meter import RefusalMeter, RouteMeter
from mini_flink.gateway.port import (
    NO_BODY_STATUSES,
    Answer,
    DirectEndpoint,
    Done,
    Draining,
    Headers,
    Ingress,
    Refused,
    Trace,
)
from mini_flink.gateway.routes import HEALTH_PATH, OWN_PATHS, RouteTable, SourceRoute
from mini_flink.gateway.tracing import RequestTracer
from mini_flink.gateway.wire_format import sendable
from mini_flink.json_codec import BodyError
from mini_flink.metrics import Registry

logger = logging.getLogger(__name__)


class SourceEndpoint:
    """What answers the requests of one source."""

    def __init__(
        self,
        route: SourceRoute,
        ingress: Ingress,
        meter: RouteMeter,
        dev: DevDoor | None = None,
        tracer: RequestTracer | None = None,
    ) -> None:
        self._meter = meter
        let_in: Submit = self._let_in if tracer is None else self._traced(tracer, route.path)
        self._submit = let_in if dev is None else dev.looks_on(let_in, route)
        self._source = route.source
        self._ingress = ingress
        if route.body == "request":
            self._prepare_request = request_maker(route.headers)
            self._take = self._take_request
        else:
            self._make_value = value_maker(route.body)
            self._take = self._take_value

    def submit(self, incoming: Incoming, done: Done) -> None:
        """Hand the request in; ``done`` gets its answer, at once if it is refused."""
        self._submit(incoming, self._meter.watch(done))

    def _let_in(self, incoming: Incoming, done: Done, trace: Trace | None = None) -> None:
        try:
            self._take(incoming, done, trace)
        except Exception as error:  # the HTTP boundary
            done(_refusal(error))

    def _traced(self, tracer: RequestTracer, path: str) -> Submit:
        """``_let_in`` where some requests are traced."""

        def let_in(incoming: Incoming, done: Done) -> None:
            trace = tracer.begin(path, incoming)
            if trace is None:
                self._let_in(incoming, done)
                return
            with trace.current():
                self._let_in(incoming, trace.watch(done), trace)

        return let_in

    def _take_value(self, incoming: Incoming, done: Done, trace: Trace | None) -> None:
        value = self._make_value(incoming)
        self._ingress.submit(self._source, value, time.time_ns() // 1_000_000, done, trace)

    def _take_request(self, incoming: Incoming, done: Done, trace: Trace | None) -> None:
        timestamp_ms = time.time_ns() // 1_000_000
        make_request = self._prepare_request(incoming, timestamp_ms)
        self._ingress.submit_request(self._source, make_request, timestamp_ms, done, trace)

    def direct(
        self, method: str, path: str, path_params: Mapping[str, Any], query_string: bytes
    ) -> DirectEndpoint:
        """This endpoint for a request of which all but headers and body is known, and which is not measured:
        who submits it says when it is answered.
        """

        def submit(headers: Headers, body: bytes, done: Done) -> None:
            self._submit(Incoming(method, path, path_params, query_string, headers, body), done)

        return DirectEndpoint(submit, self._meter.answered)


def _refusal(error: Exception) -> Answer:
    match error:
        case BodyError():
            return problem.bad_body(error.message, error.line, error.column)
        case ConflictError():
            return problem.conflicting_parameter(error.name)
        case ParameterError():
            return problem.bad_parameters(str(error))
        case Draining():
            return problem.draining(error.retry_after_s)
        case Refused():
            return problem.overloaded(error.retry_after_s, error.reason)
    logger.error("a request could not be taken in", exc_info=error)
    return problem.internal_error()


def _unnoticed() -> None:
    """Nobody publishes what is counted here."""


class GatewayApp:
    """All inputs of a job behind one ASGI callable; ``noticed`` hears of errors among their answers.

    ``dev`` looks on, and may change how problems are told. ``tracer`` traces some of the requests.
    """

    def __init__(
        self,
        routes: Sequence[SourceRoute],
        ingress: Ingress,
        metrics: Registry | None = None,
        noticed: Callable[[], None] = _unnoticed,
        dev: DevDoor | None = None,
        tracer: RequestTracer | None = None,
    ) -> None:
        self._ingress = ingress
        self._dev = dev
        registry = metrics or Registry()
        meters = {path: RouteMeter(registry, path, noticed) for path in {route.path for route in routes}}
        self.refusals = RefusalMeter(registry, noticed)
        self._table = RouteTable(
            [(route, SourceEndpoint(route, ingress, meters[route.path], dev, tracer)) for route in routes]
        )
        self._own_paths = frozenset(path for path in OWN_PATHS if not self._table.has_path(path))

        self._direct = {
            (method.encode("ascii"), path.encode("ascii")): endpoint.direct(method, path, NO_PARAMS, b"")
            for (method, path), endpoint in self._table.static_endpoints().items()
            if path.isascii()
        }

    def find_direct(self, method: bytes, url: bytes) -> DirectEndpoint | None:
        """The fast lane: the endpoint for what stands in a request line, if it is a plain case."""
        return self._direct.get((method, url)) or self._match_direct(method.decode("ascii"), url)

    def _match_direct(self, method: str, url: bytes) -> DirectEndpoint | None:
        if method == "HEAD" or not url.startswith(b"/") or b"#" in url:
            return None
        raw_path, _, query_string = url.partition(b"?")
        found = self._resolve(method, raw_path)
        if isinstance(found, Answer):
            return None
        endpoint, path, path_params = found
        return endpoint.direct(method, path, path_params, query_string)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        found = self._resolve(method, scope["raw_path"])
        if isinstance(found, Answer):
            if scope["path"] not in self._own_paths:
                self.refusals.count(found.status)
            expected = any(name == b"expect" for name, _ in scope["headers"])
            if expected or await _read_body(receive) is not None:
                if self._dev is not None:
                    found = self._dev.refused(method, scope["path"], scope["headers"], found)
                # Who waits for "100 Continue" may send the body now or not: only a new connection is safe.
                await _send(send, found, close=expected)
            return
        endpoint, path, path_params = found
        body = await _read_body(receive)
        if body is not None:
            incoming = Incoming(method, path, path_params, scope["query_string"], scope["headers"], body)
            answer = await _submit(endpoint, incoming)
            if answer is not None:
                await _send(send, answer)

    def _resolve(
        self, method: str, raw_path: bytes
    ) -> Answer | tuple[SourceEndpoint, str, Mapping[str, Any]]:
        """The endpoint, the decoded path and its parameters; or the answer if there is none."""
        try:
            path = unquote(raw_path.decode("ascii"), errors="strict")
        except UnicodeDecodeError:
            return problem.bad_parameters("The path is not UTF-8.")
        if path in self._own_paths:
            return self._own_answer(method, path)
        found = self._table.resolve(method, path)
        return found if isinstance(found, Answer) else (found.endpoint, path, found.path_params)

    def _own_answer(self, method: str, path: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return problem.method_not_allowed("GET, HEAD")
        if path == HEALTH_PATH or self._ingress.is_ready():
            return Answer(200, ((b"content-type", b"application/json"),), b'{"status":"ok"}')
        return problem.not_ready()


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, bounded by the protocol; None if the client left."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message["body"])
        if not message["more_body"]:
            return b"".join(chunks)


async def _submit(endpoint: SourceEndpoint, incoming: Incoming) -> Answer | None:
    """The answer; None if the server, at its end, has cut the client off and waits no longer."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(answer: Answer) -> None:
        if not future.done():
            future.set_result(answer)

    endpoint.submit(incoming, done)
    try:
        return await future
    except asyncio.CancelledError:
        return None


async def _send(send: Send, answer: Answer, *, close: bool = False) -> None:
    answer = sendable(answer)
    headers = list(answer.headers)
    if answer.status not in NO_BODY_STATUSES:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if close:
        headers.append((b"connection", b"close"))
    body = b"" if answer.status in NO_BODY_STATUSES else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def exchange(
    app: GatewayApp, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """One request past HTTP, from within: status and body of its answer."""
    path, _, query_string = target.partition("?")
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method.upper(),
        "path": path,
        "raw_path": path.encode(),
        "query_string": query_string.encode(),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ],
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

"""The trace of a request: whether it is recorded, its span, and what goes back to the client.

A request that brings a ``traceparent`` is recorded if that says so and not if it says not; of the others one
in so many is. Who asks for what no source takes has no span: nothing of the job ran.

The answer carries ``traceresponse``, which is W3C's name for it: ``traceparent`` is a header of requests, and
in an answer no rule says whose span it names.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from mini_flink.gateway.bodies import Incoming
from mini_flink.gateway.port import Answer, Done, Trace
from mini_flink.tracing import context
from mini_flink.tracing.base import Attributes, Span, Start, Tracing, tell_failure

RESPONSE_HEADER = b"traceresponse"


class RequestTracer:
    """Begins the traces of one gateway's requests; ``draw`` gives numbers from 0 to below 1."""

    def __init__(self, tracing: Tracing, ratio: float, draw: Callable[[], float] = random.random) -> None:
        self._tracing = tracing
        self._ratio = ratio
        self._draw = draw

    def begin(self, route: str, incoming: Incoming) -> RequestTrace | None:
        """The trace of a request that has arrived whole; None if it is not to be recorded."""
        parent = context.read(incoming.headers)
        if not (self._draw() < self._ratio if parent is None else parent.is_sampled):
            return None
        attributes: dict[str, str] = {
            "http.request.method": incoming.method,
            "http.route": route,
            "url.path": incoming.path,
            "url.scheme": "http",
        }
        above = b"" if parent is None else parent.encode()
        span = self._tracing.start(Start(f"{incoming.method} {route}", "server", above, attributes))
        return RequestTrace(self._tracing, span)


class RequestTrace(Trace):
    """The span of one request."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self.context = span.context
        self._place = context.decode(span.context)
        self._tracing = tracing
        self._span = span
        self._waits_ns = 0

    @property
    def trace_id(self) -> str:
        return self._place.trace_text

    def current(self) -> AbstractContextManager[None]:
        """Within it the user's key selector runs."""
        return self._tracing.current(self._span)

    def waits(self, reason: str) -> None:
        self._waits_ns = time.monotonic_ns()
        self._span.event("waits at the door", {"mini_flink.reason": reason})

    def let_in(self, request_id: str) -> None:
        known: dict[str, str | float] = {"mini_flink.request_id": request_id}
        if self._waits_ns:
            known["mini_flink.door_wait_ms"] = (time.monotonic_ns() - self._waits_ns) / 1e6
            self._span.event("let in", {})
        self._span.set(known)

    def failed(self, error: BaseException, error_id: str) -> None:
        tell_failure(self._span, error, error_id)

    def watch(self, done: Done) -> Done:
        """``done``, whose answer ends the span and names it."""

        def answered(answer: Answer) -> None:
            self._end(answer.status)
            named = (RESPONSE_HEADER, self._place.header)
            done(answer._replace(headers=(*answer.headers, named)))

        return answered

    def _end(self, status: int) -> None:
        known: Attributes = {"http.response.status_code": status}
        if status >= 500:
            known = {**known, "error.type": str(status)}
            self._span.fail(f"answered {status}")
        self._span.set(known)
        self._span.end()

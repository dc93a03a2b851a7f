"""The real device: OpenTelemetry's SDK, which sends spans to a collector by OTLP over HTTP.

The only module that imports opentelemetry; loaded only where requests are traced. Spans leave in batches in a
thread of the SDK's: whoever ends one puts it into a queue of fixed length and never waits. What the collector
does not take is dropped, which is said, but not often.

What the SDK's variables say (``OTEL_EXPORTER_OTLP_…``, ``OTEL_BSP_…``, ``OTEL_RESOURCE_ATTRIBUTES``,
``OTEL_SERVICE_NAME``) holds, but for samplers: the gateway decides by ``trace_ratio``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace.span import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.status import StatusCode

from mini_flink.events import Say
from mini_flink.failures import printable
from mini_flink.tracing.base import Attributes, Kind, Span, Start
from mini_flink.tracing.context import Context, decode

CLOSE_S = 1.0
SAID_AGAIN_S = 600.0
TRACES_PATH = "/v1/traces"
EXPORT_LOGGERS = (
    "opentelemetry.exporter.otlp",
    "opentelemetry.exporter.http",
    "opentelemetry.sdk._shared_internal",
)
"""What the SDK says of failing exports, which here is one event."""

_KINDS: Mapping[Kind, trace.SpanKind] = {
    "server": trace.SpanKind.SERVER,
    "consumer": trace.SpanKind.CONSUMER,
    "internal": trace.SpanKind.INTERNAL,
}


class OtelSpan:
    """A span of the SDK."""

    __slots__ = ("context", "inner")

    def __init__(self, inner: trace.Span) -> None:
        self.inner = inner
        place = inner.get_span_context()
        state = place.trace_state.to_header()
        self.context = Context(place.trace_id, place.span_id, int(place.trace_flags), state).encode()

    def set(self, attributes: Attributes) -> None:
        self.inner.set_attributes(attributes)

    def event(self, name: str, attributes: Attributes) -> None:
        self.inner.add_event(name, attributes)

    def fail(self, description: str) -> None:
        self.inner.set_status(StatusCode.ERROR, description)

    def end(self) -> None:
        self.inner.end()


class OtelTracing:
    """The spans of one process of a job."""

    def __init__(self, job: str, process: str, incarnation: int, endpoint: str | None, say: Say) -> None:
        resource = Resource.create(_about(job, process, incarnation))
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH if endpoint else None)
        self._processor = BatchSpanProcessor(_Watched(exporter, Complaints(say, collector(endpoint))))
        self._tracer = self._provider(resource, ParentBased(ALWAYS_ON)).get_tracer("mini_flink")
        if isinstance(
            trace.get_tracer_provider(), trace.ProxyTracerProvider
        ):  # the job has set none of its own
            # What users start joins a trace that is recorded, and begins none.
            trace.set_tracer_provider(self._provider(resource, ParentBased(ALWAYS_OFF)))

    def _provider(self, resource: Resource, sampler: ParentBased) -> TracerProvider:
        provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        return provider

    def start(self, start: Start) -> OtelSpan:
        above = contexts.Context()  # not the current one, whatever that may be
        if start.parent:
            above = trace.set_span_in_context(NonRecordingSpan(_place(start.parent)), above)
        return OtelSpan(
            self._tracer.start_span(
                start.name,
                context=above,
                kind=_KINDS[start.kind],
                attributes=start.attributes,
                links=[trace.Link(_place(link)) for link in start.links],
                start_time=start.start_ns,
            )
        )

    @contextmanager
    def current(self, span: Span) -> Iterator[None]:
        if not isinstance(span, OtelSpan):
            raise TypeError(f"{span!r} was started elsewhere")
        token = contexts.attach(trace.set_span_in_context(span.inner))
        try:
            yield
        finally:
            contexts.detach(token)

    def close(self) -> None:
        # The SDK would wait for half a minute for a collector that does not answer.
        closing = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _about(job: str, process: str, incarnation: int) -> dict[str, str | int]:
    """Which process this is, as the standard names it; what the user's variables say stands."""
    about: dict[str, str | int] = {
        "service.instance.id": f"{process}.{incarnation}",
        "process.pid": os.getpid(),
    }
    named = [
        part.partition("=")[0].strip() for part in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "").split(",")
    ]
    if not os.environ.get(OTEL_SERVICE_NAME) and "service.name" not in named:
        about["service.name"] = job
    return about


def _place(context: bytes) -> SpanContext:
    place = decode(context)
    state = TraceState.from_header([place.state]) if place.state else None
    return SpanContext(place.trace_id, place.span_id, True, TraceFlags(place.flags), state)


def collector(endpoint: str | None) -> str:
    """The address of the collector, without a password, as the exporter finds it if ``endpoint`` is None."""
    url = (
        endpoint
        or os.environ.get(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)
        or os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT)
        or "http://localhost:4318"
    )
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Complaints(logging.Handler):
    """Turns what the SDK says of failing exports into an event, once in ten minutes."""

    def __init__(self, say: Say, where: str) -> None:
        """``where`` is the collector, as it is named."""
        super().__init__(logging.WARNING)
        self._say = say
        self._where = where
        self._last = ""
        self._lost = 0
        self._said_s = float("-inf")
        for name in EXPORT_LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(self)
            logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Kept until it is known whether anything was lost by it."""
        self._last = record.getMessage()
        if "ueue" in self._last and "full" in self._last:
            self.lost(1)

    def lost(self, spans: int) -> None:
        """So many spans will not arrive."""
        self._lost += spans
        now = time.monotonic()
        if now < self._said_s + SAID_AGAIN_S:
            return
        self._said_s = now
        lost, self._lost = self._lost, 0
        why = f": {printable(self._last.rstrip('. '))}" if self._last else ""
        self._say(
            "warn",
            f"{lost} spans or more did not reach the collector at {self._where}{why}. "
            "Requests are served as before "
            "(said once in ten minutes)",
            name="traces.lost",
            spans=lost,
        )


class _Watched(SpanExporter):
    """The exporter, and somebody who hears of what it could not deliver."""

    def __init__(self, exporter: SpanExporter, complaints: Complaints) -> None:
        self._exporter = exporter
        self._complaints = complaints

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._complaints.lost(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

"""A collector: what an OpenTelemetry Collector does at its OTLP/HTTP port, kept in memory."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

LIMIT_S = 60.0


@dataclass(frozen=True)
class Told:
    """A span as it arrived; ids are hexadecimal."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[str]
    is_error: bool
    resource: dict[str, Any]

    @property
    def process(self) -> str:
        """``w0``, without the incarnation."""
        return str(self.resource["service.instance.id"]).split(".")[0]


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def _dict(pairs: Any) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _told(span: Span, resource: dict[str, Any]) -> Told:
    return Told(
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _dict(span.attributes),
        [(event.name, _dict(event.attributes)) for event in span.events],
        [link.span_id.hex() for link in span.links],
        span.status.code == Status.STATUS_CODE_ERROR,
        resource,
    )


class Collector:
    """Listens until it is closed."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.headers: list[dict[str, str]] = []
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(self.path, dict(self.headers), body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.headers.append(headers)
            for group in request.resource_spans:
                resource = _dict(group.resource.attributes)
                for scope in group.scope_spans:
                    self.spans += [_told(span, resource) for span in scope.spans]
            self._changed.notify_all()

    def until(self, holds: Callable[[list[Told]], bool], trace: str = "") -> list[Told]:
        """The spans of a trace, or all, once they are as wanted; the earliest first."""
        end = time.monotonic() + LIMIT_S
        with self._changed:
            while True:
                found = [span for span in self.spans if trace in ("", span.trace)]
                if holds(found):
                    return sorted(found, key=lambda span: span.start_ns)
                assert time.monotonic() < end, f"they never came: {found}"
                self._changed.wait(0.2)

    def named(self, trace: str, *names: str) -> dict[str, Told]:
        """Wait for a trace that has these spans and no others, each name once."""
        wanted = sorted(names)
        found = self.until(lambda spans: sorted(span.name for span in spans) == wanted, trace)
        return {span.name: span for span in found}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

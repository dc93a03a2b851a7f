"""Whether requests are traced, and with what: OpenTelemetry is loaded here, and only if they are."""

from __future__ import annotations

import importlib.util
from typing import Protocol

from mini_flink.errors import ConfigError
from mini_flink.events import Say
from mini_flink.tracing.base import Tracing

NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


class TraceSettings(Protocol):
    """The settings that say so, by their names in config."""

    @property
    def trace_ratio(self) -> float: ...
    @property
    def trace_endpoint(self) -> str | None: ...

    def origin(self, name: str) -> str:
        """Where a value came from."""


def check_tracing(settings: TraceSettings) -> None:
    """ConfigError if requests are to be traced and cannot be; nothing is loaded otherwise."""
    if not settings.trace_ratio:
        return
    if not all(map(_is_there, NEEDED)):
        raise ConfigError(
            f"trace_ratio = {settings.trace_ratio:g} (from {settings.origin('trace_ratio')}) needs "
            "OpenTelemetry, which is not installed",
            help="pip install 'mini-flink[tracing]', or leave trace_ratio at 0",
        )
    endpoint = settings.trace_endpoint
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise ConfigError(
            f"trace_endpoint = {endpoint!r} (from {settings.origin('trace_endpoint')}) is no HTTP address",
            help="give that of an OTLP/HTTP collector, as in http://localhost:4318",
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it is in
        return False


def open_tracing(
    settings: TraceSettings, job: str, process: str, incarnation: int, say: Say
) -> Tracing | None:
    """Where the spans of this process go; None if nothing is traced."""
    if not settings.trace_ratio:
        return None
    from mini_flink.tracing.otel import OtelTracing

    return OtelTracing(job, process, incarnation, settings.trace_endpoint, say)

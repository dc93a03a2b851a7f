"""The twin in memory: spans are kept in a list, ids count up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mini_flink.tracing.base import Attributes, Kind, Span, Start, Value
from mini_flink.tracing.context import SAMPLED, Context, decode


@dataclass
class MemorySpan:
    """A span, and all that was said of it."""

    name: str
    kind: Kind
    parent: bytes
    id: Context
    attributes: dict[str, Value]
    links: tuple[bytes, ...] = ()
    start_ns: int | None = None
    events: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    failed: str | None = None
    ended: bool = False

    @property
    def context(self) -> bytes:
        return self.id.encode()

    def set(self, attributes: Attributes) -> None:
        self.attributes.update(attributes)

    def event(self, name: str, attributes: Attributes) -> None:
        self.events.append((name, dict(attributes)))

    def fail(self, description: str) -> None:
        self.failed = description

    def end(self) -> None:
        if self.ended:
            raise RuntimeError(f"the span {self.name!r} has ended already")
        self.ended = True


class MemoryTracing:
    """``within`` are the spans that user code runs in now, the innermost last."""

    def __init__(self) -> None:
        self.spans: list[MemorySpan] = []
        self.within: list[Span] = []
        self.closed = False

    def start(self, start: Start) -> MemorySpan:
        number = len(self.spans) + 1
        above = decode(start.parent) if start.parent else Context(number, 0, SAMPLED)
        span = MemorySpan(
            start.name,
            start.kind,
            start.parent,
            above._replace(span_id=number),
            dict(start.attributes),
            tuple(start.links),
            start.start_ns,
        )
        self.spans.append(span)
        return span

    @contextmanager
    def current(self, span: Span) -> Iterator[None]:
        self.within.append(span)
        try:
            yield
        finally:
            self.within.pop()

    def close(self) -> None:
        self.closed = True

"""The device that spans go to: a protocol with two twins, ``otel`` and ``memory``.

A trace context is bytes wherever it travels (``context`` reads them). Who starts a span decides that it is
recorded: nothing here samples. All is called by the loop of a process, and returns at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from mini_flink.failures import type_name

Value = str | int | float | Sequence[str]
Attributes = Mapping[str, Value]
Kind = Literal["server", "consumer", "internal"]


class Start(NamedTuple):
    """What is known of a span that begins now, or began at ``start_ns`` (Unix time).

    ``parent`` is the context of another span; empty it begins a trace.
    """

    name: str
    kind: Kind
    parent: bytes
    attributes: Attributes
    links: Sequence[bytes] = ()
    start_ns: int | None = None


class Span(Protocol):
    """Something that takes time, from its start to ``end``."""

    @property
    def context(self) -> bytes:
        """What is to travel, so that other spans become its children."""

    def set(self, attributes: Attributes) -> None:
        """More is known of it."""

    def event(self, name: str, attributes: Attributes) -> None:
        """Something happened now."""

    def fail(self, description: str) -> None:
        """It came to nothing."""

    def end(self) -> None:
        """Now, once; after it nothing more can be said."""


def tell_failure(span: Span, error: BaseException, error_id: str) -> None:
    """User code raised: its lines, as the log tells programs, not its words, which often quote a record."""
    kind = type_name(error)
    frames = "".join(traceback.format_tb(error.__traceback__))
    span.event("exception", {"exception.type": kind, "exception.stacktrace": f"{frames}{kind}"})
    span.set({"mini_flink.error_id": error_id, "error.type": kind})
    span.fail(kind)


class Tracing(Protocol):
    """Where spans go."""

    def start(self, start: Start) -> Span:
        """A span begins, or has begun."""

    def current(self, span: Span) -> AbstractContextManager[None]:
        """Within it what user code starts, or calls elsewhere, belongs to the span."""

    def close(self) -> None:
        """Hand over what has ended; takes a second at most."""

"""A place in a trace: as W3C's header fields, and as the bytes that travel between processes.

The rules are those of W3C Trace Context, level 1 and 2: a ``traceparent`` that breaks them is as none, a
``tracestate`` that does is dropped alone, and a version to come is read as far as this one goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

SAMPLED = 1
STATE_LIMIT = 512
STATE_MEMBERS = 32
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KEY = r"[a-z0-9][a-z0-9_\-*/]{0,255}(?:@[a-z][a-z0-9_\-*/]{0,13})?"
_MEMBER = re.compile(rf"{_KEY}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


class Context(NamedTuple):
    """Which span of which trace; ``state`` is what vendors pass on, as ``tracestate`` has it."""

    trace_id: int
    span_id: int
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether who sent it records the trace."""
        return bool(self.flags & SAMPLED)

    @property
    def trace_text(self) -> str:
        """The trace's id as people and programs write it."""
        return f"{self.trace_id:032x}"

    @property
    def header(self) -> bytes:
        """As the value of ``traceparent`` and ``traceresponse``."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}".encode()

    def encode(self) -> bytes:
        """As the bytes that travel."""
        ids = self.trace_id.to_bytes(16, "big") + self.span_id.to_bytes(8, "big")
        return ids + bytes((self.flags,)) + self.state.encode("ascii")


def decode(data: bytes) -> Context:
    """What ``encode`` made bytes of."""
    trace_id, span_id = int.from_bytes(data[:16], "big"), int.from_bytes(data[16:24], "big")
    return Context(trace_id, span_id, data[24], data[25:].decode("ascii"))


def read(headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
    """The context that a request brings along; None if it brings none, or nonsense."""
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1:
        return None
    context = _read_parent(parents[0].strip(b" \t"))
    return context._replace(state=_read_state(states)) if context is not None and states else context


def _read_parent(value: bytes) -> Context | None:
    match = _PARENT.fullmatch(value)
    if match is None:
        return None
    version, trace, span, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    # The flags of a version to come may mean other things, but for the one that is defined.
    kept = int(flags, 16) if version == b"00" else int(flags, 16) & SAMPLED
    return Context(trace_id, span_id, kept) if trace_id and span_id else None


def _read_state(values: list[bytes]) -> str:
    """The list of all fields' members; empty if any is malformed, twice there or too much."""
    text = ",".join(value.decode("latin-1") for value in values)
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    state = ",".join(members)
    fits = len(members) <= STATE_MEMBERS and len(keys) == len(members) and len(state) <= STATE_LIMIT
    return state if fits and all(map(_MEMBER.fullmatch, members)) else ""

"""The seam between HTTP and what stands behind it: values go in, answers come out.

Owns the types of both sides. Never does anything itself. HTTP's half (app, protocol, server) calls an
``Ingress``; the gateway's process, the local runner and tests provide one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as HTTP/1.1 carries them."""

JSON_HEADERS: Headers = ((b"content-type", b"application/json"),)
"""The headers of an ordinary answer. Pass this very object: it is recognised and skips all checks."""


class Answer(NamedTuple):
    """A whole HTTP answer. ``headers`` lack only what HTTP itself owes: length, date, connection."""

    status: int
    headers: Headers
    body: bytes


NO_BODY_STATUSES = frozenset({204, 304})
"""The statuses whose answers have neither body nor length."""

Done = Callable[[Answer], None]
"""Takes the answer, exactly once, in the loop's thread; harmless if the client has gone."""


class DirectEndpoint(NamedTuple):
    """What answers requests whose method and URL are known."""

    submit: Callable[[Headers, bytes, Done], None]
    """Takes the headers and the body; answers by ``done``."""
    answered: Callable[[int, int], None]
    """Hears of each answer: its status, and when the request was submitted, in ns of the monotonic clock."""


FindDirect = Callable[[bytes, bytes], DirectEndpoint | None]
"""The direct endpoint for a method and a URL as they stand in a request line; None: it is a case for ASGI."""


class Refused(Exception):
    """The door is closed: 503. ``reason`` is for the client to read, ``retry_after_s`` in whole seconds."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Draining(Refused):
    """The door is closed by an operator, who drains the server."""


class Trace(Protocol):
    """The trace that a request belongs to, if that is recorded: who takes the request in tells it."""

    context: bytes

    @property
    def trace_id(self) -> str:
        """As people and programs write it."""

    def waits(self, reason: str) -> None:
        """It is not let in yet."""

    def let_in(self, request_id: str) -> None:
        """It is on its way."""

    def failed(self, error: BaseException, error_id: str) -> None:
        """Its key selector raised: no stage runs it."""


class Ingress(Protocol):
    """Where requests go. Both ``submit`` methods return at once and promise that ``done`` is called once,
    then or later, unless they raise ``Refused``. ``timestamp_ms`` (Unix time) is the request's arrival."""

    def submit(
        self, source: int, value: Any, timestamp_ms: int, done: Done, trace: Trace | None = None
    ) -> None:
        """Take ``value`` in as a record of ``source``."""

    def submit_request(
        self,
        source: int,
        make_value: Callable[[str], Any],
        timestamp_ms: int,
        done: Done,
        trace: Trace | None = None,
    ) -> None:
        """The same for a value that holds its own request id: it is made once the id is known."""

    def is_ready(self) -> bool:
        """Would a request succeed now?"""


class HttpLimits(Protocol):
    """The settings that HTTP obeys, by their names in config."""

    @property
    def max_body_bytes(self) -> int: ...
    @property
    def max_header_bytes(self) -> int: ...
    @property
    def max_header_fields(self) -> int: ...
    @property
    def header_timeout_ms(self) -> int: ...
    @property
    def body_timeout_ms(self) -> int: ...
    @property
    def keep_alive_timeout_ms(self) -> int: ...

"""An answer as the bytes of HTTP/1.1.

Owns status lines, header lines and what may stand in them. Called by ``protocol`` for the answers that do not
go through ASGI, and by ``app`` to check those that do.
"""

from __future__ import annotations

import logging

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE

from mini_flink.gateway import problem
from mini_flink.gateway.port import JSON_HEADERS, NO_BODY_STATUSES, Answer

logger = logging.getLogger(__name__)

_JSON_LINE = b"content-type: application/json\r\n"
_LENGTH_LINES = [b"content-length: %d\r\n" % length for length in range(1024)]


def sendable(answer: Answer) -> Answer:
    """The answer, or a 500 if one of its headers would break out of its line."""
    for name, value in answer.headers:
        if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            logger.error("an answer has an unusable header: %r", name)
            return problem.internal_error()
    return answer


def encode(answer: Answer, default_lines: bytes, *, keep_alive: bool) -> bytes:
    """The whole of a sendable answer; ``default_lines`` are the header lines that every answer has."""
    status, headers, body = answer
    if headers is JSON_HEADERS:
        lines = _JSON_LINE
    else:
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if not keep_alive:
        lines += b"connection: close\r\n"
    if status in NO_BODY_STATUSES:
        return b"".join((STATUS_LINE[status], default_lines, lines, b"\r\n"))
    length = len(body)
    length_line = _LENGTH_LINES[length] if length < 1024 else b"content-length: %d\r\n" % length
    return b"".join((STATUS_LINE[status], default_lines, lines, length_line, b"\r\n", body))

"""Answers that say what went wrong: RFC 9457 problem details.

Owns their form and the words of those that the server gives by itself. Never decides when one is due.
Called by everything in the gateway that refuses, and by its process for 500, 503 and 504.

No function here takes a value or an exception's text of a job: what failed is in the log, under the error id.
But for the ``detail`` of a failure, which there is only under ``serve --dev``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mini_flink.gateway.port import Answer, Headers

CONTENT_TYPE = (b"content-type", b"application/problem+json")
PROBLEM_TYPE = "urn:mini-flink:problem:"
LISTED_INPUTS = 50


def problem(
    status: int, code: str, title: str, detail: str = "", headers: Headers = (), **members: Any
) -> Answer:
    """A problem: ``code`` is stable and for programs, ``title`` and ``detail`` are for people.

    >>> problem(418, "teapot", "I am a teapot").body
    b'{"type":"urn:mini-flink:problem:teapot","title":"I am a teapot","status":418,"code":"teapot"}'
    """
    content: dict[str, Any] = {"type": f"{PROBLEM_TYPE}{code}", "title": title, "status": status}
    if detail:
        content["detail"] = detail
    content["code"] = code
    content.update(members)
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Answer(status, (CONTENT_TYPE, *headers), body)


# --- what a job's request meets ---------------------------------------------------------------------------


def failed_record(error_id: str, operator: str, detail: Mapping[str, Any] | None = None) -> Answer:
    """500: a function raised; the record is a dead letter. ``detail`` is for whoever develops the job."""
    return problem(
        500,
        "record-failed",
        "A record of this request failed",
        f"Operator {operator!r} raised; the record is a dead letter. The log has more under the error id.",
        error_id=error_id,
        operator=operator,
        **(detail or {}),
    )


def timeout() -> Answer:
    """504: no answer in time."""
    return problem(
        504,
        "timeout",
        "No answer in time",
        "Whether the request has been or will be applied is not known.",
    )


def overloaded(
    retry_after_s: int, reason: str = "As many requests are pending as the server takes"
) -> Answer:
    """503: refused at the door, nothing was applied."""
    return problem(
        503,
        "overloaded",
        "Too much to do",
        f"{reason}. The request was not applied; try again later.",
        headers=(_retry_after(retry_after_s),),
    )


def draining(retry_after_s: int) -> Answer:
    """503: an operator has closed the door; nothing was applied."""
    return problem(
        503,
        "draining",
        "The service is being drained",
        "It takes no requests until it is resumed. The request was not applied; try again later.",
        headers=(_retry_after(retry_after_s),),
    )


def internal_error() -> Answer:
    """500: a mistake of the server itself."""
    return problem(500, "internal-error", "The server failed", "The log has more.")


def not_ready() -> Answer:
    """503 of ``/readyz``."""
    return problem(503, "not-ready", "Not ready", headers=(_retry_after(1),))


def _retry_after(seconds: int) -> tuple[bytes, bytes]:
    return (b"retry-after", str(max(1, seconds)).encode())


# --- routes -----------------------------------------------------------------------------------------------


def not_found(inputs: Sequence[str]) -> Answer:
    """404: no input has this path; the inputs there are, as ``POST /path``."""
    return problem(404, "no-such-path", "No input has this path", inputs=list(inputs[:LISTED_INPUTS]))


def method_not_allowed(allow: str) -> Answer:
    """405: the path is an input, for other methods."""
    return problem(
        405,
        "method-not-allowed",
        "The path does not take this method",
        f"It takes {allow}.",
        headers=((b"allow", allow.encode("ascii")),),
    )


# --- bodies and values ------------------------------------------------------------------------------------


def bad_body(message: str, line: int, column: int) -> Answer:
    """400: the body is not the JSON that is due; line and column count from 1."""
    return problem(400, "bad-body", "The body is not usable", message, line=line, column=column)


def conflicting_parameter(name: str) -> Answer:
    """400: one name is given twice, in path, query or body."""
    return problem(
        400,
        "conflicting-parameter",
        "A name is given twice",
        f"{name!r} is in more than one of path, query and body.",
        name=name,
    )


def bad_parameters(detail: str) -> Answer:
    """400: path or query cannot be decoded."""
    return problem(400, "bad-parameters", "The URL is not usable", detail)


def body_too_large(limit_bytes: int) -> Answer:
    """413."""
    return problem(
        413,
        "body-too-large",
        "The body is too large",
        f"At most {limit_bytes} bytes are taken.",
        limit_bytes=limit_bytes,
    )


def body_unfinished() -> Answer:
    """408: the body did not arrive in time."""
    return problem(408, "body-unfinished", "The body did not arrive in time")


# --- the protocol -----------------------------------------------------------------------------------------


def malformed(detail: str) -> Answer:
    """400: what arrived is not HTTP/1.1, or could be read in two ways."""
    return problem(400, "malformed-request", "Not a well-formed HTTP request", detail)


def head_too_large(limit_bytes: int, limit_fields: int) -> Answer:
    """431."""
    return problem(
        431,
        "head-too-large",
        "The request's head is too large",
        f"At most {limit_bytes} bytes and {limit_fields} header fields are taken.",
    )


def unsupported_version(version: str) -> Answer:
    """505."""
    return problem(505, "http-version", "HTTP/1.1 is spoken here", f"Not {version}.")


def tunnel_refused() -> Answer:
    """501: CONNECT."""
    return problem(501, "no-tunnel", "This is not a proxy")


def too_many_pipelined(limit: int) -> Answer:
    """429: more requests than ``limit`` were sent without waiting for an answer."""
    return problem(
        429,
        "too-many-pipelined",
        "Too many requests at once",
        f"At most {limit} requests may wait on one connection.",
        headers=(_retry_after(1),),
    )

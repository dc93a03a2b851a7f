"""Requests that end before they are whole: how the parser is told so, and what each version of HTTP lacks.

Called by ``protocol`` only.
"""

from __future__ import annotations

import logging

import httptools

from mini_flink.gateway import problem
from mini_flink.gateway.port import Answer

logger = logging.getLogger(__name__)


class RefusalError(Exception):
    """Raised in a callback of the parser: the request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def answer_to(error: httptools.HttpParserError) -> Answer:
    """The answer to what the parser, or a callback in it, did not take."""
    cause = error.__context__
    if isinstance(cause, RefusalError):
        return cause.answer
    if cause is None or isinstance(cause, httptools.HttpParserError):
        return problem.malformed(f"{cause or error}.")
    logger.error("a request could not be parsed", exc_info=cause)
    return problem.internal_error()


def check_version(version: str, host_fields: int, *, chunked: bool) -> bool:
    """Refuse what this version of HTTP does not have; whether its connections outlive a request."""
    if version not in ("1.0", "1.1"):
        raise RefusalError(problem.unsupported_version(f"HTTP/{version}"))
    is_current = version == "1.1"
    if host_fields > 1 or (is_current and host_fields == 0):
        raise RefusalError(problem.malformed("Exactly one Host header is due."))
    if chunked and not is_current:
        raise RefusalError(problem.malformed("HTTP/1.0 has no Transfer-Encoding."))
    return is_current

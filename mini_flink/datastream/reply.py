"""An HTTP reply as a value of a stream, and what HTTP allows in one.

The checks are used twice: on what ``reply()`` is given when the job is built, and on each ``Reply`` when it
is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_THE_CONNECTION = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    )
)


@dataclass(frozen=True)
class Reply:
    """What a ``reply()`` sink sends as it is said here; the sink's own headers are added unless named here.

    >>> Reply({"error": "no such account"}, status=404).status
    404
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None


def is_token(name: object) -> bool:
    """Whether this can be the name of a header."""
    return isinstance(name, str) and _TOKEN.fullmatch(name) is not None


def checked_status(status: object) -> int:
    """The status, if it is one that ends a request; else ``ValueError``."""
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"status {status!r} is not one of 200 to 599")
    return int(status)


def checked_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers as pairs; ``ValueError`` for one that HTTP or the server does not allow."""
    if not isinstance(headers, Mapping):
        raise ValueError(f"headers are a mapping of names to values, not {type(headers).__name__}")
    return [(name, _checked_header(name, value)) for name, value in headers.items()]


def checked_content_type(content_type: object) -> str:
    """The content type; ``ValueError`` if it cannot be a header's value."""
    return _checked_value("content-type", content_type)


def _checked_header(name: object, value: object) -> str:
    if not is_token(name):
        raise ValueError(f"{name!r} is not the name of a header")
    lower = str(name).lower()
    if lower in _OF_THE_CONNECTION:
        raise ValueError(f"header {name!r} belongs to the connection: the server sets it")
    if lower == "content-type":
        raise ValueError("the content type is given as content_type=, not as a header")
    return _checked_value(str(name), value)


def _checked_value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"header {name!r} has a value of type {type(value).__name__}, not str")
    if any((char < " " and char != "\t") or char == "\x7f" for char in value):
        raise ValueError(f"header {name!r} has a line end or another control character in its value")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"header {name!r} has a value that is not latin-1: encode it first") from None
    return value

"""An HTTP request as a value of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """All of a request: what ``from_requests(..., type_info=Request)`` gives.

    ``body`` is the decoded JSON, ``headers`` holds only those that the source lists (names in lower case),
    ``query`` has all values of each name, ``timestamp`` is the arrival in Unix milliseconds.
    """

    id: str
    method: str
    path: str
    path_params: dict[str, Any]
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    timestamp: int

"""What a source's value is: made of a request's body, path, query and headers, as the source asked for it.

Owns the four kinds of value and the mistakes a client can make in them. Never routes and never answers: it
raises what ``app`` turns into answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from mini_flink.datastream.request import Request
from mini_flink.gateway.port import Headers
from mini_flink.json_codec import BodyError, decode_body

QUERY_METHODS = frozenset({"GET", "HEAD", "DELETE"})
"""The methods whose query parameters are part of a ``dict`` value."""

NO_PARAMS: Mapping[str, Any] = {}


class ParameterError(Exception):
    """The query string cannot be decoded."""


class ConflictError(Exception):
    """``name`` is given in more than one of path, query and body."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Incoming(NamedTuple):
    """All that is known of a request; ``path`` is decoded, header names are in lower case."""

    method: str
    path: str
    path_params: Mapping[str, Any]
    query_string: bytes
    headers: Headers
    body: bytes


ValueMaker = Callable[[Incoming], Any]


def value_maker(kind: str) -> ValueMaker:
    """How the value of a source of this kind is made; for ``"request"`` see ``request_maker``."""
    return {"dict": _object_value, "object": _any_value, "bytes": _raw_value}[kind]


def _any_value(incoming: Incoming) -> Any:
    return decode_body(incoming.body)


def _raw_value(incoming: Incoming) -> bytes:
    return incoming.body


def _object_value(incoming: Incoming) -> dict[str, Any]:
    value = decode_body(incoming.body)
    if type(value) is not dict:
        raise BodyError(f"a JSON object is due, this is {_JSON_NAMES[type(value)]}", *_start(incoming.body))
    if incoming.path_params:
        _add(value, incoming.path_params)
    if incoming.query_string and incoming.method in QUERY_METHODS:
        query = parse_query(incoming.query_string)
        _add(value, {name: texts[0] if len(texts) == 1 else texts for name, texts in query.items()})
    return value


_JSON_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def _start(body: bytes) -> tuple[int, int]:
    """Line and column of the first character that is not blank."""
    blank = body[: len(body) - len(body.lstrip())]
    return blank.count(b"\n") + 1, len(blank) - blank.rfind(b"\n")


def _add(value: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    for name in parameters:
        if name in value:
            raise ConflictError(name)
    value.update(parameters)


def parse_query(query_string: bytes) -> dict[str, list[str]]:
    """All values of each name, in order; ``ParameterError`` for what is not UTF-8.

    >>> parse_query(b"a=1&b=&a=%C3%A4")
    {'a': ['1', 'ä'], 'b': ['']}
    """
    query: dict[str, list[str]] = {}
    try:
        for name, text in parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict"):
            query.setdefault(name, []).append(text)
    except ValueError:
        raise ParameterError("The query string is not UTF-8.") from None
    return query


RequestMaker = Callable[[Incoming, int], Callable[[str], Request]]


def request_maker(kept_headers: tuple[str, ...]) -> RequestMaker:
    """How a ``Request`` is made: of what came and when, then of its id; only ``kept_headers`` enter it."""
    kept = {name.lower().encode("latin-1"): name.lower() for name in kept_headers}

    def prepare(incoming: Incoming, timestamp_ms: int) -> Callable[[str], Request]:
        body = decode_body(incoming.body)
        query = parse_query(incoming.query_string)
        headers = _keep(incoming.headers, kept)

        def make(request_id: str) -> Request:
            return Request(
                id=request_id,
                method=incoming.method,
                path=incoming.path,
                path_params=dict(incoming.path_params),
                query=query,
                headers=headers,
                body=body,
                timestamp=timestamp_ms,
            )

        return make

    return prepare


def _keep(headers: Headers, kept: Mapping[bytes, str]) -> dict[str, str]:
    """The kept headers; a repeated one is joined with commas, as HTTP has it."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = kept.get(raw_name)
        if name is not None:
            value = raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found

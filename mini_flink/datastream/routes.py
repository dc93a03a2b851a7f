"""What ``from_requests`` accepts: path, methods, headers, type. Pure checks.

Path syntax is Starlette's, without importing it: ``/a/{name}`` and ``/a/{id:int}`` with the convertors below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_origin

from mini_flink.datastream.reply import is_token
from mini_flink.datastream.request import Request

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CONVERTORS = ("str", "path", "int", "float", "uuid")
OWN_PATHS = ("/healthz", "/readyz")

_PARAMETER = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?}")
_BODIES = {dict: "dict", object: "object", bytes: "bytes", Request: "request"}


def path_shape(path: object) -> str:
    """The path with its parameters' names taken out: two of one shape match the same requests."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"path {path!r} does not begin with '/'")
    if any(char in "?#\\" or char.isspace() or not char.isprintable() for char in path):
        raise ValueError(f"path {path!r} has a character that the path of a URL cannot have")
    if path in OWN_PATHS:
        raise ValueError(f"path {path!r} is the server's own")
    names: set[str] = set()
    shape = _PARAMETER.sub(lambda match: _parameter(path, match, names), path)
    if "{" in shape.replace("{:", "") or shape.count("{") != shape.count("}"):
        raise ValueError(f"path {path!r} has a brace that begins or ends no parameter")
    return shape


def _parameter(path: str, match: re.Match[str], names: set[str]) -> str:
    name, convertor = match[1], match[2] or "str"
    if convertor not in CONVERTORS:
        raise ValueError(f"path {path!r} has the unknown convertor {convertor!r}: {', '.join(CONVERTORS)}")
    if name in names:
        raise ValueError(f"path {path!r} has the parameter {name!r} twice")
    names.add(name)
    return f"{{:{convertor}}}"


def checked_methods(methods: str | Sequence[str]) -> tuple[str, ...]:
    """The methods in upper case, each once."""
    given = [methods] if isinstance(methods, str) else list(methods)
    upper = tuple(dict.fromkeys(method.upper() if isinstance(method, str) else method for method in given))
    for method in upper:
        if method not in METHODS:
            raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if not upper:
        raise ValueError("no method is given")
    return upper


def checked_header_names(headers: Sequence[str]) -> tuple[str, ...]:
    """The names in lower case, each once."""
    if isinstance(headers, str):
        raise ValueError(f"headers is a list of names, not the string {headers!r}")
    for name in headers:
        if not is_token(name):
            raise ValueError(f"{name!r} is not the name of a header")
    return tuple(dict.fromkeys(name.lower() for name in headers))


def body_of(type_info: Any) -> str:
    """What a source gives for each request, as ``RequestOptions.body`` names it."""
    if type_info is None:
        return "dict"
    try:
        return _BODIES[get_origin(type_info) or type_info]
    except (KeyError, TypeError):
        raise ValueError(f"type_info={type_info!r} is not one of dict, object, bytes, Request") from None

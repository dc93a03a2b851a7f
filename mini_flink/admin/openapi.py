"""What the routes say of themselves, as OpenAPI 3.1. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from mini_flink import __version__

Handler = Callable[[Request], Awaitable[Response]]
Schema = Mapping[str, Any]

JSON, PROBLEM = "application/json", "application/problem+json"
_TOKEN = "token"  # noqa: S105 - the name of a scheme
_PROBLEM: Schema = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "code")},
        "status": {"type": "integer"},
    },
}


class Entry(NamedTuple):
    """One route; ``summary`` says what it is for, ``query`` names the parameters that it reads there.

    ``headers`` are those of the request that matter, ``body`` is the schema of what is posted, ``media`` the
    type of the answer.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    body: Schema | None = None
    media: str = JSON
    is_open: bool = False
    """No token is wanted even if there is one."""


def describe(routes: Iterable[Entry], *, has_token: bool) -> dict[str, Any]:
    """The description of all of them."""
    paths: dict[str, dict[str, Any]] = {}
    for entry in routes:
        paths.setdefault(entry.path.replace(":path}", "}"), {})[entry.method.lower()] = _operation(entry)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mini_flink admin", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {_TOKEN: {"type": "http", "scheme": "bearer"}},
        },
        "security": [{_TOKEN: []}] if has_token else [],
    }


def _operation(entry: Entry) -> dict[str, Any]:
    schema = {"type": "object" if entry.media == JSON else "string"}
    content = {entry.media: {"schema": schema}}
    problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers = {"200": {"description": "as asked", "content": content}}
    if entry.method == "POST":
        answers = {"202": {"description": "it has begun", "content": content}}
    if entry.body and "dry_run" in entry.body["properties"]:
        answers["200"] = {"description": "dry_run: the effect in words", "content": content}
    operation: dict[str, Any] = {
        "summary": entry.summary,
        "responses": {**answers, "default": {"description": "why not", "content": problem}},
    }
    if parameters := list(_parameters(entry)):
        operation["parameters"] = parameters
    if entry.body:
        operation["requestBody"] = {"content": {JSON: {"schema": entry.body}}}
    if entry.is_open:
        operation["security"] = []
    return operation


def _parameters(entry: Entry) -> Iterable[dict[str, Any]]:
    parts = [part[1:-1].partition(":")[0] for part in entry.path.split("/") if part.startswith("{")]
    for place, names in (("path", parts), ("query", entry.query), ("header", entry.headers)):
        for name in names:
            yield {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}

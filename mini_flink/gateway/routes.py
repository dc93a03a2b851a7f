"""Which input a request is for: path and method to a source's endpoint, or to the answer that says why not.

Owns Starlette's path syntax and convertors, the merging of ``Allow``, and the two paths of the server's own.
Never reads a body. Built once by the gateway's process; asked by ``app`` for every request off the fast lane.

Paths are exact: no slash is added or taken away. A path without parameters goes before one with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mini_flink.gateway import problem
from mini_flink.gateway.port import Answer

HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
OWN_PATHS = (HEALTH_PATH, READY_PATH)

Endpoint = TypeVar("Endpoint")


@dataclass(frozen=True, slots=True)
class SourceRoute:
    """One ``from_requests``: ``source`` is its operator number.

    ``body`` says what the value is: ``"dict"``, ``"object"``, ``"bytes"`` or ``"request"``; ``headers`` are
    the names, in lower case, that a ``Request`` keeps. ``from_requests`` has checked all of it.
    """

    source: int
    path: str
    methods: tuple[str, ...] = ("POST",)
    body: str = "dict"
    headers: tuple[str, ...] = ()


class Found(NamedTuple, Generic[Endpoint]):
    """The endpoint of a request, and its path parameters, converted."""

    endpoint: Endpoint
    path_params: Mapping[str, Any]


class _Path(Generic[Endpoint]):
    """One path and who takes which method on it."""

    def __init__(self, path: str) -> None:
        route = Route(path, endpoint=_unused)
        self.path = path
        self.pattern = route.path_regex
        self.convertors = route.param_convertors
        self.endpoints: dict[str, Endpoint] = {}

    def match(self, path: str) -> dict[str, Any] | None:
        """The parameters in ``path``, or None if it is another path."""
        match = self.pattern.match(path)
        if match is None or match.end() != len(path):  # "$" also matches before a last line feed
            return None
        try:
            return {name: self.convertors[name].convert(text) for name, text in match.groupdict().items()}
        except ValueError:  # an int of more digits than Python converts
            return None


async def _unused(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands in where Starlette wants an application: routes are matched here, never called."""


class RouteTable(Generic[Endpoint]):
    """All inputs of a job."""

    def __init__(self, routes: Sequence[tuple[SourceRoute, Endpoint]]) -> None:
        self._static: dict[str, _Path[Endpoint]] = {}
        self._patterns: dict[str, _Path[Endpoint]] = {}
        for route, endpoint in routes:
            path: _Path[Endpoint] = _Path(route.path)
            paths = self._patterns if path.convertors else self._static
            path = paths.setdefault(route.path, path)
            path.endpoints.update(dict.fromkeys(route.methods, endpoint))
        self._inputs = [
            f"{method} {path.path}" for path in self._paths() for method in sorted(path.endpoints)
        ]

    def _paths(self) -> list[_Path[Endpoint]]:
        return [*self._static.values(), *self._patterns.values()]

    def has_path(self, path: str) -> bool:
        """Does the job declare exactly this path, by whatever method?"""
        return path in self._static

    def static_endpoints(self) -> dict[tuple[str, str], Endpoint]:
        """The endpoints that need no matching, by (method, path)."""
        return {
            (method, path.path): endpoint
            for path in self._static.values()
            for method, endpoint in path.endpoints.items()
        }

    def resolve(self, method: str, path: str) -> Found[Endpoint] | Answer:
        """Who takes this request; else the answer: 404, 405, or 204 to OPTIONS."""
        candidates = self._candidates(path)
        if not candidates:
            return problem.not_found(self._inputs)
        found = _pick(candidates, method)
        if found is None and method == "HEAD":
            found = _pick(candidates, "GET")
        return found or self._explain(method, {name for place, _ in candidates for name in place.endpoints})

    def _candidates(self, path: str) -> list[tuple[_Path[Endpoint], dict[str, Any]]]:
        candidates: list[tuple[_Path[Endpoint], dict[str, Any]]] = []
        static = self._static.get(path)
        if static is not None:
            candidates.append((static, {}))
        for pattern in self._patterns.values():
            path_params = pattern.match(path)
            if path_params is not None:
                candidates.append((pattern, path_params))
        return candidates

    def _explain(self, method: str, methods: set[str]) -> Answer:
        allow = allowed(methods)
        if method == "OPTIONS":
            return Answer(204, ((b"allow", allow.encode("ascii")),), b"")
        return problem.method_not_allowed(allow)


def _pick(
    candidates: Sequence[tuple[_Path[Endpoint], dict[str, Any]]], method: str
) -> Found[Endpoint] | None:
    for path, path_params in candidates:
        endpoint = path.endpoints.get(method)
        if endpoint is not None:
            return Found(endpoint, path_params)
    return None


def allowed(methods: set[str]) -> str:
    """The value of ``Allow``: HEAD comes with GET."""
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))

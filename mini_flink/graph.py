"""The logical plan of a job: frozen data that ``env.execute()`` makes of what the job module said.

Owns: nodes, edges and the options of sources and sinks. Never: user code being run, subtasks, workers (that
is ``plan``). Made by ``datastream.builder``; read by ``plan``, by the runners, and by every process to
compare that all of them built the same job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mini_flink.errors import Location

REQUESTS = "requests"
COLLECTION = "collection"

DEFAULT_MAX_PARALLELISM = 128
MAX_MAX_PARALLELISM = 32768


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a source of HTTP requests takes.

    ``body`` says what the value is: ``"dict"`` (a JSON object), ``"object"`` (any JSON), ``"bytes"`` (the
    raw body) or ``"request"`` (a ``Request``). ``headers`` are the names, in lower case, that a ``Request``
    keeps. ``timeout_ms`` of ``None`` is the server's own.
    """

    path: str
    methods: tuple[str, ...]
    body: str
    headers: tuple[str, ...] = ()
    timeout_ms: int | None = None

    def plain(self) -> list[Any]:
        return [self.path, list(self.methods), self.body, list(self.headers), self.timeout_ms]


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """The encoded elements of ``from_collection``, in order."""

    elements: tuple[bytes, ...] = field(repr=False)

    def plain(self) -> list[Any]:
        return self.digest(len(self.elements))

    def digest(self, count: int) -> list[Any]:
        """The number of the first ``count`` elements, and what only these very ones give."""
        first = self.elements[:count]
        digest = hashlib.sha256()
        for element in first:
            digest.update(len(element).to_bytes(8, "big") + element)
        return [len(first), digest.hexdigest()]


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What a ``reply()`` sink adds to the values that are no ``Reply``."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None

    def plain(self) -> list[Any]:
        return [self.status, [list(pair) for pair in self.headers], self.content_type]


Options = RequestOptions | CollectionOptions | ReplyOptions


@dataclass(frozen=True, slots=True)
class Edge:
    """An input of a node: the node it comes from and, behind a ``key_by``, what finds the key."""

    source: int
    selector: Callable[[Any], Any] | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, source or sink.

    ``id`` is its position in the graph, ``uid`` its name across versions of the job (``has_uid``: given by
    the user, else generated), ``parallelism`` what was declared (``None``: the default), ``location`` the
    user's line.
    """

    id: int
    kind: str
    name: str
    uid: str
    has_uid: bool
    parallelism: int | None
    function: Any
    inputs: tuple[Edge, ...]
    location: Location
    options: Options | None = None

    @property
    def keyed(self) -> bool:
        """Whether its input is partitioned by key, so that it may have keyed state."""
        return any(edge.selector is not None for edge in self.inputs)

    @property
    def is_source(self) -> bool:
        return not self.inputs


@dataclass(frozen=True, slots=True)
class JobGraph:
    """A whole job. ``nodes[i].id == i``, and an edge leads to a later node only."""

    name: str
    nodes: tuple[Node, ...]
    max_parallelism: int
    location: Location

    def consumers(self, node_id: int) -> Iterator[tuple[Node, Edge]]:
        """The edges that leave a node, in the order in which the job named their targets."""
        for node in self.nodes:
            for edge in node.inputs:
                if edge.source == node_id:
                    yield node, edge

    def fingerprint(self) -> list[list[Any]]:
        """Plain data, one list per node, equal in all processes that built the same job."""
        return [
            [
                node.uid,
                node.kind,
                node.name,
                node.parallelism,
                [[self.nodes[edge.source].uid, edge.selector is not None] for edge in node.inputs],
                node.options.plain() if node.options else [],
            ]
            for node in self.nodes
        ]

"""How an operator and its key are called beside a drawing: the user's line, and what a key selector takes."""

from __future__ import annotations

import dis
from collections.abc import Callable
from types import CodeType
from typing import Any

from mini_flink.errors import Location
from mini_flink.graph import JobGraph
from mini_flink.source import short_path

_READS = ("RESUME", "CACHE", "PRECALL", "BINARY_SUBSCR", "BUILD_TUPLE", "RETURN_VALUE", "NOP")
_LONGEST = 60


def locations(graph: JobGraph) -> dict[str, str]:
    """Where the user made each operator, by its uid: ``job.py:18``."""
    return {node.uid: place(node.location) for node in graph.nodes if node.location.file}


def place(location: Location) -> str:
    """``job.py:18``."""
    return f"{short_path(location.file)}:{location.line}"


def key_names(graph: JobGraph) -> dict[str, str]:
    """What the key of an edge is called, by the edge's id, where that can be told."""
    names = {
        f"{graph.nodes[edge.source].uid}->{node.uid}": key_name(edge.selector)
        for node in graph.nodes
        for edge in node.inputs
        if edge.selector is not None
    }
    return {edge: name for edge, name in names.items() if name}


def key_name(selector: Callable[[Any], Any]) -> str:
    """``user_id`` for ``lambda order: order["user_id"]``, a function's name for a function; else empty.

    >>> key_name(lambda order: (order["shop"], order.user.id))
    'shop, user.id'
    """
    owner = getattr(selector, "__self__", None)
    if owner is not None and not isinstance(owner, type):
        return type(owner).__name__[:_LONGEST]
    code = getattr(selector, "__code__", None)
    name = str(getattr(selector, "__name__", ""))
    if not isinstance(code, CodeType) or name != "<lambda>":
        return name[:_LONGEST]
    return ", ".join(_paths(code))[:_LONGEST]


def _paths(code: CodeType) -> list[str]:
    """The fields that a lambda reads, if it does nothing else."""
    paths: list[list[str]] = []
    for step in dis.get_instructions(code):
        if step.opname.startswith("LOAD_FAST"):
            paths.append([])
        elif step.opname in ("LOAD_CONST", "LOAD_ATTR") and paths:
            paths[-1].append(str(step.argval))
        elif step.opname not in _READS and step.argrepr != "[]":
            return []
    return ["the value" if not path else ".".join(path) for path in paths]

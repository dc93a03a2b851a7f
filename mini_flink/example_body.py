"""A body to try: the fields that the first functions of a job read from a request, each with the value 1.

A guess for the banner's curl line, and for who sent another body under ``--dev``, made from the functions'
code without running them: ``value["key"]`` shows as the constant "key" taken from the parameter. What is not
read so is not found.
"""

from __future__ import annotations

import dis
import json
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from mini_flink.graph import JobGraph, Node

_METHODS = ("process_element", "map", "flat_map", "filter", "get_key")


def example_body(graph: JobGraph, source: Node) -> str:
    """The JSON of a request that the first functions behind ``source`` can probably read."""
    fields: dict[str, int] = {}
    for function in _first_functions(graph, source):
        fields.update((name, 1) for name in _fields_read(function))
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True).replace("'", "\\u0027")


def _first_functions(graph: JobGraph, source: Node) -> Iterator[Any]:
    """The key selectors and functions directly behind a source."""
    for node, edge in graph.consumers(source.id):
        if edge.selector is not None:
            yield edge.selector
        if node.function is not None:
            yield node.function


def _fields_read(function: Any) -> Iterator[str]:
    code, parameter = _code_of(function)
    if code is None or code.co_argcount <= parameter:
        return
    name = code.co_varnames[parameter]
    instructions = list(dis.get_instructions(code))
    for load, constant, subscript in zip(instructions, instructions[1:], instructions[2:], strict=False):
        reads = load.opname.startswith("LOAD_FAST") and load.argval == name
        if reads and isinstance(constant.argval, str) and subscript.opname.startswith("BINARY_SUBSCR"):
            yield constant.argval


def _code_of(function: Any) -> tuple[CodeType | None, int]:
    """The code of what takes the value, and which of its parameters that is."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return code, 0
    for name in _METHODS:
        method: Callable[..., Any] | None = getattr(type(function), name, None)
        code = getattr(method, "__code__", None)
        if code is not None:
            return code, 1
    return None, 0

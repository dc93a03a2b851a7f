"""Who imports whom in mini_flink, read from the source: also imports inside functions and for types only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mini_flink"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Full names of modules; of a package's own attribute, the package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else str(node.module) for name in full}
    return names


IMPORTS: Mapping[str, set[str]] = {name: imported(path) for name, path in MODULES.items()}
INTERNAL = {name: {each for each in names if each in MODULES} for name, names in IMPORTS.items()}


def room(module: str) -> str:
    """``mini_flink.core.engine`` is in ``core``, ``mini_flink.plan`` is a room of its own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def outside(module: str) -> set[str]:
    """The top-level packages of others that a module imports, without Python's own."""
    tops = {name.split(".")[0] for name in IMPORTS[module]}
    return tops - set(sys.stdlib_module_names) - {"mini_flink"}


def closure(*modules: str) -> set[str]:
    """All modules that are loaded when these are, also what functions import late."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += INTERNAL[module]
    return found


def cycles() -> Iterator[list[str]]:
    """Every module that reaches itself, with the way."""
    for start in MODULES:
        way = _way(start, start)
        if way is not None:
            yield way


def _way(start: str, goal: str) -> list[str] | None:
    ways = {module: [start, module] for module in INTERNAL[start]}
    waiting = list(ways)
    while waiting:
        module = waiting.pop(0)
        if module == goal:
            return ways[module]
        for following in INTERNAL[module] - ways.keys():
            ways[following] = [*ways[module], following]
            waiting.append(following)
    return None

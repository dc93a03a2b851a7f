"""Results on stdout: JSON for programs, aligned text for people.

A name says its unit: what ends in ``_bytes``, ``_ms`` or ``_s`` is written as people read it, what ends in
``_at`` as local time. On a terminal a table is cut to its width; what goes elsewhere is whole.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mini_flink import units

NARROWEST = 8
"""No column is cut below that: the line is, then."""
_UNITS = ("_bytes", "_ms", "_s")


def print_json(value: Mapping[str, Any]) -> None:
    """One object, with names as they are."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_report(report: Mapping[str, Any]) -> None:
    """Single values as ``name  value`` lines, then objects and lists of rows, each below its name."""
    sections = {name: value for name, value in report.items() if _is_section(value)}
    _print_values({name: value for name, value in report.items() if name not in sections})
    for name, value in sections.items():
        print(f"\n{words(name)}")
        if isinstance(value, dict):
            _print_values(_flat(value), indent="  ")
        else:
            print_table(value, indent="  ")


def _print_values(values: Mapping[str, Any], *, indent: str = "") -> None:
    width = max((len(words(name)) for name in values), default=0)
    for name, value in values.items():
        print(f"{indent}{words(name):<{width}}  {cell(name, value)}")


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """``{"last": {"id": …}}`` as ``{"last id": …}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{before}{name} ") if isinstance(value, dict) else {before + name: value}
    return flat


def print_table(rows: Sequence[Mapping[str, Any]], *, indent: str = "") -> None:
    """Columns as the rows name them, numbers to the right; what is nested is left to JSON."""
    for line in table(rows, width=terminal_width(), indent=indent):
        print(line)


def table(rows: Sequence[Mapping[str, Any]], *, width: int | None = None, indent: str = "") -> Iterator[str]:
    """The lines of a table, none longer than ``width``: the widest columns of text lose their middles."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in names if not any(isinstance(row.get(name), dict) for row in rows)]
    cells = [[cell(name, row.get(name)) for name in columns] for row in rows]
    right = [_is_numeric([row.get(name) for row in rows]) for name in columns]
    widths = [max(len(text) for text in column) for column in zip(map(words, columns), *cells, strict=True)]
    if width is not None:
        _narrow(widths, right, width - len(indent))
    for line in ([words(name) for name in columns], *cells):
        yield fit((indent + "  ".join(_aligned(line, widths, right))).rstrip(), width)


def _narrow(widths: list[int], right: Sequence[bool], width: int) -> None:
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max((number for number, is_right in enumerate(right) if not is_right),
                     key=widths.__getitem__, default=None)  # fmt: skip
        if widest is None or widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    for text, width, is_right in zip(line, widths, right, strict=True):
        yield text.rjust(width) if is_right else units.shorten(text, width).ljust(width)


def fit(line: str, width: int | None) -> str:
    """A line that is too long ends with ``…``."""
    return line if width is None or len(line) <= width else f"{line[: width - 1]}…"


def terminal_width() -> int | None:
    """How wide stdout is; None if it is no terminal: what a program reads is not cut."""
    if not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def _is_section(value: Any) -> bool:
    return (isinstance(value, dict) and bool(value)) or _is_table(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether all there is in a column are numbers."""
    present = [value for value in column if value is not None]
    return bool(present) and all(map(_is_number, present))


def words(name: str) -> str:
    """A name for people, without its unit, which stands behind the value."""
    for unit in _UNITS:
        if name.endswith(unit):
            name = name.removesuffix(unit)
            break
    return name.replace("_", " ")


def cell(name: str, value: Any) -> str:
    """A value for people; its name says what it counts."""
    if value is None:
        return units.NONE
    if isinstance(value, str):
        return units.plain(_moment(value) if name.endswith("_at") else value)
    if _is_number(value):
        return _number(name, value)
    return units.plain(json.dumps(value, ensure_ascii=False, default=str))


def _number(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return units.size(value)
    if name.endswith("_ms"):
        return units.duration(value / 1000)
    if name.endswith("_s"):
        return units.duration(value)
    return str(value)


def _moment(text: str) -> str:
    """``2026-01-05T10:02:06.412+00:00`` as the clock on the wall has it."""
    try:
        return units.clock(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return text

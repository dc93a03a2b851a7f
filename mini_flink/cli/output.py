"""Results on stdout: JSON for programs, aligned text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def print_json(value: Mapping[str, Any]) -> None:
    """One object, with names as they are."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_report(report: Mapping[str, Any]) -> None:
    """Single values as ``name  value`` lines, then each list of rows as a table below its name."""
    tables = {name: value for name, value in report.items() if _is_table(value)}
    single = {name: value for name, value in report.items() if name not in tables}
    width = max((len(name) for name in single), default=0)
    for name, value in single.items():
        print(f"{_words(name):<{width}}  {_cell(value)}")
    for name, rows in tables.items():
        print(f"\n{_words(name)}")
        print_table(rows, indent="  ")


def print_table(rows: Sequence[Mapping[str, Any]], *, indent: str = "") -> None:
    """Columns as the rows name them, numbers to the right; what is nested is left to JSON."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in names if not any(isinstance(row.get(name), dict) for row in rows)]
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(map(_words, columns), *cells, strict=True)]
    right = [all(isinstance(row.get(name), int | float) for row in rows) for name in columns]
    for line in ([_words(name) for name in columns], *cells):
        print((indent + "  ".join(_aligned(line, widths, right))).rstrip())


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    for text, width, is_right in zip(line, widths, right, strict=True):
        yield text.rjust(width) if is_right else text.ljust(width)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)

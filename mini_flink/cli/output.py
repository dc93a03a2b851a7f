"""Results on stdout: JSON for programs, aligned text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def print_json(value: Mapping[str, Any]) -> None:
    """One object, with names as they are."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_report(report: Mapping[str, Any]) -> None:
    """Single values as ``name  value`` lines, then objects and lists of rows, each below its name."""
    sections = {name: value for name, value in report.items() if _is_section(value)}
    _print_values({name: value for name, value in report.items() if name not in sections})
    for name, value in sections.items():
        print(f"\n{_words(name)}")
        if isinstance(value, dict):
            _print_values(_flat(value), indent="  ")
        else:
            print_table(value, indent="  ")


def _print_values(values: Mapping[str, Any], *, indent: str = "") -> None:
    width = max((len(_words(name)) for name in values), default=0)
    for name, value in values.items():
        print(f"{indent}{_words(name):<{width}}  {_cell(value)}")


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """``{"last": {"id": …}}`` as ``{"last id": …}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{before}{name} ") if isinstance(value, dict) else {before + name: value}
    return flat


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


def _is_section(value: Any) -> bool:
    return (isinstance(value, dict) and bool(value)) or _is_table(value)


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

"""Stored values to look at: as Python writes them, and as JSON where that fits; cut where they are long.

No class of the job is needed and none of its code runs: whoever looks must not stop a worker. A value that
cannot be read is shown in hexadecimal.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from typing import Any

from mini_flink.errors import DecodeError
from mini_flink.value_classes import Plain
from mini_flink.values import decode_many_plain, decode_plain

DECODE_BYTES = 64 * 1024
DECODE_TIMES = 64
"""What is longer than this, and so many times longer than what is shown of it, is not decoded: it would take
a while."""
_UNSHOWABLE = (ValueError, RecursionError)
"""Nested deeper, or a number longer, than Python writes."""


def of_value(data: bytes, limit: int) -> dict[str, Any]:
    """A value, a reduction or an accumulator."""
    if len(data) > max(DECODE_BYTES, DECODE_TIMES * limit):
        return _hexadecimal(data, limit)
    try:
        return shown(decode_plain(data), limit)
    except DecodeError:
        return _hexadecimal(data, limit)


def of_list(data: bytes, limit: int) -> dict[str, Any]:
    """The elements of a list state, the first of them if there are many."""
    try:
        values, whole = decode_many_plain(data, 4 * limit)
    except DecodeError:
        return _hexadecimal(data, limit)
    return shown(values, limit, whole=whole)


def of_map(entries: list[tuple[bytes, bytes]], limit: int, *, whole: bool) -> dict[str, Any]:
    """The entries of a map state, encoded keys and values; ``whole``: there are no others."""
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    for entry in entries:
        size += len(entry[0]) + len(entry[1])
        if taken and size > 4 * limit:
            break
        taken.append(entry)
    try:
        found = [(decode_plain(key), decode_plain(value)) for key, value in taken]
    except DecodeError:
        return _hexadecimal(b"".join(key + value for key, value in taken), limit)
    return shown(_Entries(found), limit, whole=whole and len(taken) == len(entries))


class _Entries(list[tuple[Any, Any]]):
    """Written as a dict; a key of a class that is not known here need not be hashable."""

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{key!r}: {value!r}' for key, value in self)}}}"


def shown(value: Any, limit: int, *, whole: bool = True) -> dict[str, Any]:
    """``text`` as Python writes it, ``json`` (a text, too) if all of it fits, and whether anything is cut."""
    try:
        text = repr(value)
        plain = json.dumps(_plain(value), ensure_ascii=False)
    except _UNSHOWABLE:
        text = f"a {type(value).__name__} that cannot be written"
        return {"text": text, "json": None, "cut": True, "decoded": True}
    is_cut = not whole or len(text) > limit
    return {
        "text": _cut(text, limit),
        "json": None if is_cut or len(plain) > 2 * limit else plain,
        "cut": is_cut,
        "decoded": True,
    }


def _hexadecimal(data: bytes, limit: int) -> dict[str, Any]:
    text = f"0x{data[:limit].hex()}"
    return {"text": _cut(text, limit), "json": None, "cut": len(text) > limit, "decoded": False}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _plain(value: Any) -> Any:
    """The JSON that comes nearest: for programs that look for a field, not to be read back."""
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind in (dict, _Entries):
        return _object(list(value.items()) if kind is dict else list(value))
    if kind in (list, tuple, set, frozenset):
        return [_plain(part) for part in value]
    if kind is Plain:
        return _plain(value.content)
    if kind is bytes:
        return value.hex()
    if kind in (datetime.date, datetime.time, datetime.datetime):
        return value.isoformat()
    if kind is datetime.timedelta:
        return value.total_seconds()
    return str(value) if kind in (uuid.UUID, decimal.Decimal) else value


def _object(items: list[tuple[Any, Any]]) -> Any:
    """A JSON object if all keys are text, else a list of pairs."""
    if all(type(key) is str for key, _ in items):
        return {_plain(key): _plain(value) for key, value in items}
    return [[_plain(key), _plain(value)] for key, value in items]

"""Keys as people write and read them: JSON, since a shell and a URL hold only text.

``42``, ``"a"``, ``true`` and ``["a", 1]`` (a tuple) are themselves. What JSON has not is an object of one
field: ``{"$bytes": "00ff"}``, ``{"$uuid": "…"}``, ``{"$date": "2026-01-31"}``, ``{"$datetime": "…"}``, and
``{"$encoded": "…"}`` for any other, as it is stored. Called by whoever asks for the state of a key, and by
whoever shows it.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from mini_flink.errors import DecodeError, KeyTypeError, UsageError
from mini_flink.keys import encode_key
from mini_flink.values import decode_plain

ENCODED: Final = "$encoded"
_FORMS: Mapping[str, Callable[[str], Any]] = {
    "$bytes": bytes.fromhex,
    "$uuid": uuid.UUID,
    "$date": datetime.date.fromisoformat,
    "$datetime": datetime.datetime.fromisoformat,
}


class Reading(NamedTuple):
    """A key as it is stored, and how it is written."""

    encoded: bytes
    text: str


def readings(text: str) -> list[Reading]:
    """What ``text`` may stand for: the key that it is as JSON, then the string that it is as it stands.

    >>> [reading.text for reading in readings("17")], [reading.text for reading in readings("abc")]
    (['17', '"17"'], ['"abc"'])

    UsageError for what is written as a form below, and is none.
    """
    as_string = _reading(encode_key(text))
    value = None
    try:
        value = json.loads(text)
        encoded = _encoded(value)
    except (ValueError, TypeError, RecursionError, KeyTypeError) as error:  # no JSON, or no key
        if type(value) is dict and len(value) == 1 and value.keys() <= {ENCODED, *_FORMS}:
            quoted = json.dumps(text)
            raise UsageError(
                f"{text} is no key: {error}", help=f"if the string itself is meant, it is written {quoted}"
            ) from error
        return [as_string]
    return [_reading(encoded)] if text.lstrip().startswith('"') else [_reading(encoded), as_string]


def _reading(encoded: bytes) -> Reading:
    return Reading(encoded, written(encoded))


def _encoded(value: Any) -> bytes:
    if type(value) is dict and set(value) == {ENCODED}:
        data = bytes.fromhex(value[ENCODED])
        decode_plain(data)  # DecodeError is a ValueError: what holds no value is no key
        return data
    return encode_key(_key(value))


def _key(value: Any) -> Any:
    if type(value) is list:
        return tuple([_key(part) for part in value])
    if type(value) is dict:
        ((form, text),) = value.items()
        if form not in _FORMS or type(text) is not str:
            raise ValueError(f"{form} is no form of a key")
        return _FORMS[form](text)
    return value


def written(encoded: bytes) -> str:
    """How a stored key is written; ``readings`` finds the same one again.

    >>> written(encode_key(("a", 1, True)))
    '["a", 1, true]'
    """
    return json.dumps(as_json(encoded), ensure_ascii=False)


def as_json(encoded: bytes) -> Any:
    """A stored key as JSON data, so that programs need not parse it out of a text."""
    try:
        plain = _plain(decode_plain(encoded))
        if _encoded(plain) == encoded:
            return plain
    except (DecodeError, KeyTypeError, ValueError, TypeError, RecursionError):
        pass
    return {ENCODED: encoded.hex()}


def _plain(key: Any) -> Any:
    kind = type(key)
    if kind is str:
        key.encode()  # a lone surrogate is no text that can be shown: UnicodeEncodeError is a ValueError
        return key
    if kind in (int, bool):
        return key
    if kind is tuple:
        return [_plain(part) for part in key]
    if kind is bytes:
        return {"$bytes": key.hex()}
    if kind is uuid.UUID:
        return {"$uuid": str(key)}
    if kind in (datetime.date, datetime.datetime):
        return {"$datetime" if kind is datetime.datetime else "$date": key.isoformat()}
    raise ValueError(f"a {kind.__name__} has no form")

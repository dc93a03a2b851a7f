"""Keys: their bytes, their hash, and the subtask that owns them.

Owns: which types may be keys, and the one encoding of each key: equal keys of equal type have equal
bytes, and no key's bytes begin another's, so state keys can be concatenations. The hash and the encoding
stand in every data folder: they never change (golden values in a test). Called by the gateway, the
operators and state.
"""

from __future__ import annotations

import datetime
import enum
import uuid
import zlib
from collections.abc import Callable
from typing import Any, Final

from mini_flink import value_classes, values
from mini_flink.errors import KeyTypeError, MiniFlinkError

_ALLOWED: Final = "str, bytes, int, bool, Enum, UUID, date, datetime and tuples of these"
_PLAIN: Final = frozenset({str, int, bytes, bool})
_AS_THEY_ARE: Final = frozenset({str, int, bytes, bool, uuid.UUID, datetime.date})


def encode_key(key: object) -> bytes:
    """The canonical bytes of a key; raises KeyTypeError, naming the type, for what cannot be one.

    A datetime with a zone is a moment: the same moment in another zone is the same key; it reads back in UTC.
    """
    if type(key) not in _AS_THEY_ARE:
        key = _canonical(key, key)
    try:
        return values.encode(key)
    except MiniFlinkError as error:  # an Enum of a local class, or a tuple nested too deeply
        raise KeyTypeError(f"not a key: {error.message}", help=error.help) from error


def key_encoder() -> Callable[[object], bytes]:
    """An ``encode_key`` for one caller with many keys: str, int, bytes and bool cost a third."""
    encode_one = values.encoder()
    return lambda key: encode_one(key) if type(key) in _PLAIN else encode_key(key)


def decode_key(data: bytes) -> Any:
    """The key that ``encode_key`` wrote; raises DecodeError."""
    return values.decode(data)


def stable_hash(key_bytes: bytes) -> int:
    """A number from 0 to 2**32 - 1, the same in every process, on every machine, in every version.

    CRC-32 keeps what keys differ in but leaves patterns; the finaliser of MurmurHash3 spreads these over all
    bits.
    """
    mixed = zlib.crc32(key_bytes)
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return mixed ^ (mixed >> 16)


def key_group(key_bytes: bytes, max_parallelism: int) -> int:
    """The key group, from 0 to ``max_parallelism`` - 1: what moves as one when a job is rescaled."""
    return stable_hash(key_bytes) % max_parallelism


def subtask_of_group(group: int, max_parallelism: int, parallelism: int) -> int:
    """The subtask that owns a key group: ranges of equal size, as in Flink."""
    return group * parallelism // max_parallelism


def _canonical(part: Any, key: object) -> Any:
    """``part`` of ``key`` as its one representative."""
    kind = type(part)
    if kind in _AS_THEY_ARE:
        return part
    if kind is tuple:
        if _AS_THEY_ARE.issuperset(map(type, part)):
            return part
        try:
            return tuple([_canonical(item, key) for item in part])
        except RecursionError:
            raise KeyTypeError("a tuple is nested too deeply to be a key") from None
    if kind is datetime.datetime:
        return _moment(part)
    if isinstance(part, enum.Enum):
        return part
    raise _refusal(kind, key)


def _moment(value: datetime.datetime) -> datetime.datetime:
    if value.utcoffset() is None:
        return value.replace(tzinfo=None, fold=0)
    try:
        return value.astimezone(datetime.UTC)
    except OverflowError as error:
        raise KeyTypeError(f"the datetime {value} is outside the years of UTC and cannot be a key") from error


def _refusal(kind: type, key: object) -> KeyTypeError:
    name = value_classes.type_name(kind)
    place = f"a key holds a {name}, which" if type(key) is tuple and kind is not tuple else f"a {name}"
    if kind is float:
        why, remedy = (
            "its equal numbers have several forms (1, 1.0, -0.0, NaN)",
            "use an int, a str or a Decimal's str",
        )
    else:
        why, remedy = f"keys are {_ALLOWED}", f"return one of these from the key selector, not a {name}"
    return KeyTypeError(f"{place} cannot be a key: {why}", help=remedy)

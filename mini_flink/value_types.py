"""The types of values that msgpack has not: their codes in the stored bytes, how each is written and read.

Owns: the table ``EXTENSIONS``. A code, once used, is never given to another type, and a payload never
changes its form: both stand in every data folder. What a payload contains of other values it leaves to
the caller's ``pack`` and ``unpack``. Called by ``values`` only.
"""

from __future__ import annotations

import datetime
import decimal
import struct
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mini_flink import value_classes
from mini_flink.errors import DecodeError, EncodeError

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]


class Refused(EncodeError):
    """A part of the value cannot be encoded; ``part`` is it, so that the place can be told."""

    def __init__(self, part: object, message: str, *, help: str = "") -> None:
        super().__init__(message, help=help)
        self.part = part


class Extension(NamedTuple):
    """A type, its code in the bytes (never reused for another), and how its payload is written and read."""

    code: int
    type: type
    write: Callable[[Any, Pack], bytes]
    read: Callable[[bytes, Unpack], Any]


_DATE: Final = struct.Struct(">HBB")
_TIME: Final = struct.Struct(">BBBIB")  # hour, minute, second, microsecond, fold
_TIMEDELTA: Final = struct.Struct(">iII")


def _items(payload: bytes, unpack: Unpack) -> list[Any]:
    items = unpack(payload)
    if type(items) is not list:
        raise DecodeError("a stored tuple or set is malformed")
    return items


def _write_integer(value: int, _: Pack) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)


def _write_date(value: datetime.date, _: Pack) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _write_clock(value: datetime.time | datetime.datetime) -> bytes:
    return _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)


def _write_time(value: datetime.time, pack: Pack) -> bytes:
    return _write_clock(value) + _write_zone(value, pack)


def _read_time(payload: bytes, unpack: Unpack) -> datetime.time:
    hour, minute, second, microsecond, fold = _TIME.unpack_from(payload)
    zone = _read_zone(payload[_TIME.size :], unpack)
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


def _write_datetime(value: datetime.datetime, pack: Pack) -> bytes:
    return _write_date(value, pack) + _write_clock(value) + _write_zone(value, pack)


def _read_datetime(payload: bytes, unpack: Unpack) -> datetime.datetime:
    year, month, day = _DATE.unpack_from(payload)
    hour, minute, second, microsecond, fold = _TIME.unpack_from(payload, _DATE.size)
    zone = _read_zone(payload[_DATE.size + _TIME.size :], unpack)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _write_timedelta(value: datetime.timedelta, _: Pack) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _read_timedelta(payload: bytes, _: Unpack) -> datetime.timedelta:
    days, seconds, microseconds = _TIMEDELTA.unpack(payload)
    return datetime.timedelta(days, seconds, microseconds)


def _write_zone(value: datetime.time | datetime.datetime, pack: Pack) -> bytes:
    """Nothing for no zone; [] for UTC, the key of a ZoneInfo, or the arguments of a fixed offset."""
    zone = value.tzinfo
    if zone is None:
        return b""
    if zone is datetime.UTC:
        return pack([])
    if type(zone) is datetime.timezone:
        return pack(list(zone.__getinitargs__()))  # type: ignore[attr-defined]
    key = getattr(zone, "key", None) if type(zone).__module__.startswith("zoneinfo") else None
    if key is None:
        raise Refused(
            value,
            f"a zone of type {value_classes.type_name(type(zone))} has no name to store",
            help="use datetime.timezone, or zoneinfo.ZoneInfo with a key",
        )
    return pack(key)


def _read_zone(payload: bytes, unpack: Unpack) -> datetime.tzinfo | None:
    if not payload:
        return None
    stored = unpack(payload)
    if type(stored) is str:
        from zoneinfo import ZoneInfo  # rarely needed, and slow to import

        return ZoneInfo(stored)
    return datetime.timezone(*stored) if stored else datetime.UTC


EXTENSIONS: Final = (
    Extension(
        2, tuple, lambda value, pack: pack(list(value)), lambda data, unpack: tuple(_items(data, unpack))
    ),
    Extension(3, set, lambda value, pack: pack(list(value)), lambda data, unpack: set(_items(data, unpack))),
    Extension(
        4,
        frozenset,
        lambda value, pack: pack(list(value)),
        lambda data, unpack: frozenset(_items(data, unpack)),
    ),
    Extension(5, int, _write_integer, lambda data, _: int.from_bytes(data, "big", signed=True)),
    Extension(
        6,
        decimal.Decimal,
        lambda value, _: str(value).encode("ascii"),
        lambda data, _: decimal.Decimal(data.decode("ascii")),
    ),
    Extension(7, uuid.UUID, lambda value, _: value.bytes, lambda data, _: uuid.UUID(bytes=data)),
    Extension(8, datetime.date, _write_date, lambda data, _: datetime.date(*_DATE.unpack(data))),
    Extension(9, datetime.time, _write_time, _read_time),
    Extension(10, datetime.datetime, _write_datetime, _read_datetime),
    Extension(11, datetime.timedelta, _write_timedelta, _read_timedelta),
)
BY_TYPE: Final = {extension.type: extension for extension in EXTENSIONS}
BY_CODE: Final = {extension.code: extension for extension in EXTENSIONS}

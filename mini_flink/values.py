"""The bytes of a value: what crosses a shuffle and what state and logs hold, with its Python type kept.

Owns: the packed form, on msgpack. None, bool, int up to 64 bits, float, str, bytes, list and dict are
msgpack's own, packed in C; every other type is an extension, one of ``value_types`` (tuple, set, larger
int, Decimal, dates, UUID) or an object of the job's classes (``value_classes``). It never pickles,
imports or guesses: a type that it does not know, and a subclass of one that it knows, is refused by
name. Encodings are self-delimiting, so they can be concatenated.

Called by the operators for records, keys and state, by ``keys``, and by whoever reads a log.

>>> decode(encode({"at": (1, 2.5), "tags": {"a"}}))
{'at': (1, 2.5), 'tags': {'a'}}
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgpack

from mini_flink import value_classes, value_types
from mini_flink.errors import DecodeError, EncodeError

MAX_NESTED_EXTENSIONS: Final = 64
"""Tuples, sets and objects inside each other; each level costs 42 KiB of C stack when it is read."""
MAX_NESTED_CONTAINERS: Final = 1023
"""Lists and dicts inside each other, between two extensions; a limit of msgpack."""

_MAX_CONTAINERS_WHEN_DEEP = 32
_DEEP = 4  # extensions; from there on lists and dicts are limited too, so that the C stack stays under 3 MiB
_BUFFER_BYTES = 512
_INSTANCE: Final = 1  # the type code of objects of the job's classes; the others are in value_types


def encode(value: object) -> bytes:
    """The bytes of ``value``; raises EncodeError, naming the type and where in the value it stands."""
    try:
        return _first_writer.pack(value)
    except UnicodeEncodeError:
        return _encode_surrogates(value)
    except EncodeError as error:
        raise _located(error, value) from error.__cause__


def encoder() -> Callable[[object], bytes]:
    """An ``encode`` for one caller with many values: those that msgpack has itself cost a third.

    >>> encode_one = encoder()
    >>> encode_one(5) == encode(5), encode_one((1, 2)) == encode((1, 2))
    (True, True)
    """
    pack = msgpack.Packer(buf_size=_BUFFER_BYTES).pack

    def encode_one(value: object) -> bytes:
        if type(value) in _PLAIN:
            try:
                data: bytes = pack(value)
                return data
            except (OverflowError, ValueError):  # more than 64 bits; lone surrogates
                return encode(value)
        return encode(value)

    return encode_one


def decode(data: bytes) -> Any:
    """The value that ``data`` holds, all of it; raises DecodeError."""
    return _first_reader.unpack(data)


def decode_plain(data: bytes) -> Any:
    """``decode`` without the job's classes, and so without code of theirs: see ``value_classes.Plain``."""
    return _plain_reader.unpack(data)


def decode_many(data: bytes) -> list[Any]:
    """The values of encodings written one after another; raises DecodeError."""
    return _read_many(data, _first_reader, len(data))


def decode_many_plain(data: bytes, enough: int) -> tuple[list[Any], bool]:
    """``decode_many`` as ``decode_plain`` does it, up to ``enough`` bytes; and whether that is all."""
    values = _read_many(data, _plain_reader, enough)
    return values, len(data) <= enough


def _read_many(data: bytes, reader: _Reader, enough: int) -> list[Any]:
    unpacker = msgpack.Unpacker(
        ext_hook=reader.restore,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        max_buffer_size=max(len(data), 1),
    )
    unpacker.feed(data)
    values = []
    try:
        while unpacker.tell() < min(enough, len(data)):
            values.append(unpacker.unpack())
    except DecodeError:
        raise
    except msgpack.OutOfData as error:
        raise DecodeError("the last of several stored values is cut short") from error
    except _MALFORMED as error:
        raise _malformed(error) from error
    return values


def _encode_surrogates(value: object) -> bytes:
    """Text with lone surrogates has no UTF-8; the handler that keeps them is slower, so it comes second."""
    try:
        return _surrogate_writer.pack(value)
    except EncodeError as error:
        raise _located(error, value) from error.__cause__


# --- writing -------------------------------------------------------------------------------------


class _Writer:
    """Packs what stands inside ``depth`` extensions; a new packer each time is cheaper than to guard one."""

    def __init__(self, depth: int, unicode_errors: str | None) -> None:
        self._depth = depth
        self._unicode_errors = unicode_errors
        self._below: _Writer | None = None

    def pack(self, value: object) -> bytes:
        if self._depth >= _DEEP:
            _check_containers(value, _MAX_CONTAINERS_WHEN_DEEP)
        try:
            if type(value) in _PACKED_DIRECTLY:
                data: bytes = msgpack.Packer(buf_size=_BUFFER_BYTES).pack_ext_type(*self._extend(value))
                return data
            data = msgpack.Packer(
                default=self._extend,
                strict_types=True,
                unicode_errors=self._unicode_errors,
                buf_size=_BUFFER_BYTES,
            ).pack(value)
        except (ValueError, RecursionError) as error:
            if isinstance(error, UnicodeEncodeError):
                raise
            raise EncodeError(f"a value is nested too deeply or too large: {error}") from error
        if 0xC4 in data or 0xC5 in data or 0xC6 in data:  # bytes, perhaps: msgpack takes a bytearray for them
            _check_containers(value, sys.maxsize)
        return data

    def _extend(self, value: object) -> msgpack.ExtType:
        """Called by msgpack for every type that is not its own."""
        below = self._below
        if below is None:
            below = self._descend(value)
        extension = value_types.BY_TYPE.get(type(value))
        if extension is not None:
            return _ext_type(extension.code, extension.write(value, below.pack))
        try:
            content = value_classes.take_apart(value)
        except EncodeError as error:
            raise value_types.Refused(value, error.message, help=error.help) from error.__cause__
        return _ext_type(_INSTANCE, below.pack(list(content)))

    def _descend(self, value: object) -> _Writer:
        if self._depth == MAX_NESTED_EXTENSIONS:
            raise value_types.Refused(
                value,
                f"a value has more than {MAX_NESTED_EXTENSIONS} tuples, sets or objects inside each other",
            )
        self._below = _Writer(self._depth + 1, self._unicode_errors)
        return self._below


def _ext_type(code: int, payload: bytes) -> msgpack.ExtType:
    # The constructor of ExtType checks, slowly, what holds here.
    return tuple.__new__(msgpack.ExtType, (code, payload))


_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Packed by msgpack without a callback, so that one packer can be used again."""

# Keys, mostly: without the detour over msgpack's callback. Not int: most of them are msgpack's own.
_PACKED_DIRECTLY: Final = frozenset(value_types.BY_TYPE) - {int}


def _check_containers(value: object, limit: int) -> None:
    """Refuses bytearray and memoryview, which msgpack makes bytes of, and over ``limit`` containers deep."""
    level: list[Any] = [value]
    for _ in range(limit + 1):
        kinds = set(map(type, level))
        if bytearray in kinds or memoryview in kinds:
            part = next(item for item in level if type(item) in (bytearray, memoryview))
            raise value_types.Refused(
                part, f"a {type(part).__name__} would come back as bytes", help="store bytes(...) of it"
            )
        if list not in kinds and dict not in kinds:
            return
        level = [item for container in level for item in _contained(container)]
    raise EncodeError(
        f"a value has more than {limit} lists or dicts inside each other, within tuples or objects"
    )


def _contained(value: object) -> list[Any]:
    if type(value) is list:
        return value
    return [*value.keys(), *value.values()] if type(value) is dict else []


# --- where in a value the refused part stands ----------------------------------------------------

_MAX_SEARCHED = 10_000


def _located(error: EncodeError, value: object) -> EncodeError:
    if isinstance(error, value_types.Refused) and error.part is not value:
        for path, part in _parts(value):
            if part is error.part:
                return EncodeError(f"{error.message} (at {path} of the value)", help=error.help)
    return EncodeError(error.message, help=error.help)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """The parts of a value with their paths, the nearest first, at most ``_MAX_SEARCHED`` of them."""
    level: list[tuple[str, Any]] = [("", value)]
    searched = 0
    while level and searched < _MAX_SEARCHED:
        level = [(path + step, part) for path, whole in level for step, part in _steps(whole)]
        searched += len(level)
        yield from level


def _steps(value: object) -> list[tuple[str, Any]]:
    if type(value) is dict:
        keys: list[tuple[str, Any]] = [(f" key {key!r:.40}", key) for key in value]
        return keys + [(f"[{key!r:.40}]", item) for key, item in value.items()]
    if type(value) in (list, tuple):
        return [(f"[{index}]", item) for index, item in enumerate(value)]  # type: ignore[arg-type, var-annotated]
    if type(value) in (set, frozenset):
        return [(" element", item) for item in value]  # type: ignore[attr-defined]
    return value_classes.children(value)


# --- reading -------------------------------------------------------------------------------------

# What hostile bytes, or a class that has changed, make the constructors below raise.
_MALFORMED = (
    *(ValueError, TypeError, ArithmeticError, LookupError, OSError, RecursionError),
    *(struct.error, msgpack.UnpackException),
)


class _Reader:
    """Unpacks what stands inside ``depth`` extensions; ``put_together`` makes the objects of classes."""

    def __init__(self, depth: int, put_together: Callable[[Any, Any], Any]) -> None:
        self._depth = depth
        self._put_together = put_together
        self._below: _Reader | None = None

    def unpack(self, data: bytes) -> Any:
        try:
            return msgpack.unpackb(
                data, ext_hook=self.restore, strict_map_key=False, unicode_errors="surrogatepass"
            )
        except DecodeError:
            raise
        except msgpack.StackError:
            return self._unpack_deep(data)
        except _MALFORMED as error:
            raise _malformed(error) from error

    def restore(self, code: int, payload: bytes) -> Any:
        """Called by msgpack for every extension."""
        below = self._below
        if below is None:
            below = self._descend()
        if code == _INSTANCE:
            reference, content = below.unpack(payload)
            return self._put_together(reference, content)
        extension = value_types.BY_CODE.get(code)
        if extension is None:
            raise DecodeError(f"a stored value has the unknown type code {code}")
        return extension.read(payload, below.unpack)

    def _descend(self) -> _Reader:
        if self._depth == MAX_NESTED_EXTENSIONS:
            raise DecodeError(
                f"a stored value has more than {MAX_NESTED_EXTENSIONS} extensions inside each other"
            )
        self._below = _Reader(self._depth + 1, self._put_together)
        return self._below

    def _unpack_deep(self, data: bytes) -> Any:
        """msgpack packs one level more of lists and dicts than it unpacks: the outermost is opened here."""
        unpacker = msgpack.Unpacker(
            ext_hook=self.restore, strict_map_key=False, unicode_errors="surrogatepass"
        )
        unpacker.feed(data)
        is_map = data[0] & 0xF0 == 0x80 or data[0] in (0xDE, 0xDF)
        try:
            if is_map:
                return {unpacker.unpack(): unpacker.unpack() for _ in range(unpacker.read_map_header())}
            return [unpacker.unpack() for _ in range(unpacker.read_array_header())]
        except DecodeError:
            raise
        except _MALFORMED as error:
            raise _malformed(error) from error


def _malformed(error: Exception) -> DecodeError:
    return DecodeError(f"the bytes hold no value: {type(error).__name__}: {error}")


_first_writer: Final = _Writer(0, None)
_surrogate_writer: Final = _Writer(0, "surrogatepass")
_first_reader: Final = _Reader(0, value_classes.put_together)
_plain_reader: Final = _Reader(0, value_classes.Plain)

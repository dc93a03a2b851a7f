"""JSON in and out of HTTP: a body to a value, a reply to bytes.

Owns: what counts as JSON at the door (strict: no NaN, no number that overflows, UTF-8 only, a limit on
depth), where a mistake stands, and how Python types that JSON lacks are written in replies. msgspec does
the work; the standard library is asked only for the place of a mistake. It knows nothing of HTTP. Called
by the gateway (bodies) and by the last operator of a job (replies).
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from mini_flink import value_classes
from mini_flink.errors import MiniFlinkError, RecordError

MAX_DEPTH: Final = 128
"""Objects and arrays inside each other in a body."""

_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b" \t\r\n"
_MAX_DIGITS: Final = 4300  # of an integer, as in int(): the time to convert grows with their square


class BodyError(MiniFlinkError):
    """A body is not the JSON that is due; line and column (in characters) count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class ReplyEncodeError(RecordError, TypeError):
    """A reply holds what JSON cannot say."""


# --- bodies --------------------------------------------------------------------------------------

_decode: Final = msgspec.json.Decoder().decode


def decode_body(body: bytes) -> Any:
    """The value of a JSON body, ``{}`` of an empty or blank one; raises BodyError.

    Of equal names in an object the last counts; integers are exact; a byte order mark is passed over.
    """
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not body.strip(_BLANK):
            return {}
        if body.startswith(_BOM):
            return decode_body(body[len(_BOM) :])
        raise _body_error(body, error) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise _too_deep(body)
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def _body_error(body: bytes, error: Exception) -> BodyError:
    """The mistake in words and with its place."""
    if isinstance(error, RecursionError):
        return _too_deep(body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as found:
        return BodyError(f"not UTF-8: byte 0x{body[found.start]:02x}", *_place(body, found.start))
    try:
        json.loads(text, parse_constant=_refuse, parse_float=_refuse_overflow, parse_int=_refuse_overlong)
    except json.JSONDecodeError as found:
        return BodyError(f"not JSON: {_in_words(found.msg)}", found.lineno, found.colno)
    except _RefusedNumber as refused:
        return BodyError(refused.why, *_place_of_number(body, refused.text))
    except RecursionError:
        return _too_deep(body)
    whole = _UP_TO_LONE_SURROGATE.match(body)
    return BodyError("a string holds half of a surrogate pair", *_place(body, whole.end() if whole else 0))


def _in_words(message: str) -> str:
    return message[:1].lower() + message[1:].removesuffix(" at")


class _RefusedNumber(Exception):
    """Ends the search for what the standard library lets pass and msgspec does not."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(why)
        self.why = why
        self.text = text


def _refuse(text: str) -> NoReturn:
    raise _RefusedNumber(f"not JSON: {text} is no number there", text)


def _refuse_overflow(text: str) -> None:
    if math.isinf(float(text)):
        raise _RefusedNumber("a number is out of range", text)


def _refuse_overlong(text: str) -> None:
    if len(text) > _MAX_DIGITS:
        raise _RefusedNumber("a number is out of range", text)


def _place_of_number(body: bytes, text: str) -> tuple[int, int]:
    """Where the number stands first; in a string before it, at worst: a hint for people."""
    found = re.search(rb"(?<![\w.+-])" + re.escape(text.encode()) + rb"(?![\w.])", body)
    return _place(body, found.start() if found else 0)


_UP_TO_LONE_SURROGATE: Final = re.compile(
    rb"(?:[^\\]++|\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?!u[dD][89a-fA-F]).))*+", re.DOTALL
)
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)


def _too_deep(body: bytes) -> BodyError:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match.group(), 0)
        if depth > MAX_DEPTH:
            return BodyError(f"nested more than {MAX_DEPTH} deep", *_place(body, match.start()))
    return BodyError(f"nested more than {MAX_DEPTH} deep")


def _place(body: bytes, offset: int) -> tuple[int, int]:
    """Line and column, in characters, of a byte."""
    before = body[:offset]
    start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[start:].decode("utf-8", "replace")) + 1


# --- replies -------------------------------------------------------------------------------------


def encode_reply(value: object) -> bytes:
    """The JSON of a reply; raises ReplyEncodeError, naming the type, for what JSON cannot say.

    A Decimal is a string, datetimes are RFC 3339, sets are arrays, bytes are base64, a dataclass or Struct is
    an object, a NamedTuple an array, an Enum its value, a Row an object if its fields have names; True, False
    and None as keys are "true", "false" and "null". NaN is an error.
    """
    try:
        data: bytes = _encode(value)
    except ReplyEncodeError:
        raise
    except UnicodeEncodeError as error:
        raise ReplyEncodeError("a reply holds text with half of a surrogate pair") from error
    except RecursionError as error:
        raise ReplyEncodeError("a reply is nested too deeply, or contains itself") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ReplyEncodeError(f"a reply cannot be written as JSON: {error}") from error
    if data.find(b"null") >= 0:  # what msgspec writes for NaN
        _refuse_nan(msgspec.to_builtins(value, enc_hook=_to_supported), "")
    return data


_AS_KEYS: Final = {True: "true", False: "false", None: "null"}


def _to_supported(value: Any) -> Any:
    """Called by msgspec for a type that it does not know, and for a dict's key that it cannot write."""
    if value is None or type(value) is bool:
        return _AS_KEYS[value]
    for base in (str, int, float):
        if isinstance(value, base):  # of a subclass
            return base(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, deque):
        return list(value)
    if value_classes.is_row(value):
        return list(value) if value.get_field_names() is None else value.as_dict()
    where = " as a key" if isinstance(value, tuple | frozenset) else ""
    raise ReplyEncodeError(
        f"a reply holds a {value_classes.type_name(type(value))}{where}, which JSON cannot say",
        help="turn it into a dict, list, str or number, or reply with bytes",
    )


_encode: Final = msgspec.json.Encoder(enc_hook=_to_supported).encode


def _refuse_nan(value: Any, path: str) -> None:
    """``value`` holds builtins only."""
    if type(value) is float:
        if not math.isfinite(value):
            raise ReplyEncodeError(f"a reply holds {value}{path and f' at {path}'}, which JSON cannot say")
    elif type(value) is dict:
        for key, item in value.items():
            _refuse_nan(item, f"{path}[{key!r}]")
    elif type(value) in (list, tuple, set, frozenset):
        for index, item in enumerate(value):
            _refuse_nan(item, f"{path}[{index}]")

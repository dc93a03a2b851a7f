"""Bodies: strict, exact, with the place of a mistake. Replies: every type that has a form, or an error."""

from __future__ import annotations

import collections
import json
import math
import random
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_flink.common.row import Row
from mini_flink.json_codec import MAX_DEPTH, BodyError, ReplyEncodeError, decode_body, encode_reply
from tests.codec import sample_classes as samples
from tests.codec.titles import title

# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", {}),
        (b" \r\n\t", {}),
        (b"\xef\xbb\xbf", {}),
        (b"\xef\xbb\xbf {}", {}),
        (b"null", None),
        (b'"a"', "a"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        ('{"ä": "😀"}'.encode(), {"ä": "😀"}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\u0000"', "\x00"),
        (b"1.5e3", 1500.0),
        (b"-0.0", -0.0),
        (b"1e308", 1e308),
        (b"1e-999", 0.0),
        (b"123456789012345678901234567890.5", 123456789012345678901234567890.5),
        *(
            (str(number).encode(), number)
            for number in (0, 2**63, -(2**63) - 1, 2**64, 10**20 + 1, 10**4000 + 1)
        ),
    ],
    ids=lambda value: title(value, 20),
)
def test_body_is_decoded(body: bytes, value: Any) -> None:
    decoded = decode_body(body)
    assert decoded == value
    assert type(decoded) is type(value)
    assert (
        decode_body(b'{"x": [' + body + b"]}") == {"x": [value]}
        if body.strip(b" \r\n\t\xef\xbb\xbf{}")
        else True
    )


@pytest.mark.parametrize(
    ("body", "message", "line", "column"),
    [
        (b"{", "expecting property name", 1, 2),
        (b'{"a": 1,\n  "b" 2}', "expecting ':'", 2, 7),
        ('{"ä😀": x}'.encode(), "expecting value", 1, 8),
        (b"[1 2]", "expecting ','", 1, 4),
        (b"[1]\n\nx", "extra data", 3, 1),
        (b"{'a': 1}", "property name", 1, 2),
        (b'"abc', "unterminated string", 1, 1),
        (b'"a\nb"', "invalid control character", 1, 3),
        (b"nul", "expecting value", 1, 1),
        (b"01", "extra data", 1, 2),
        (b"hello", "expecting value", 1, 1),
        (b"a=1&b=2", "expecting value", 1, 1),
        (b'{"a": NaN}', "NaN is no number", 1, 7),
        (b"[1,\n Infinity]", "Infinity is no number", 2, 2),
        (b"[-Infinity]", "-Infinity is no number", 1, 2),
        (b"[1, 1e999]", "a number is out of range", 1, 5),
        (b'{"a": 1E5,\n"b": -1.5e+400}', "a number is out of range", 2, 6),
        (b"[" + b"9" * 4301 + b"]", "a number is out of range", 1, 2),
        (b"[" + b"9" * 400 + b".5]", "a number is out of range", 1, 2),
        (b'["\\ud800 "]', "half of a surrogate pair", 1, 3),
        (b'"\\udc00 "', "half of a surrogate pair", 1, 2),
        (b'"\xff"', "not UTF-8: byte 0xff", 1, 2),
        ('{"ä":\n "ö'.encode() + b"\xc3(", "not UTF-8: byte 0xc3", 2, 4),
        (b'"\xed\xa0\x80"', "not UTF-8: byte 0xed", 1, 2),
        (b"\xff\xfe{\x00}\x00", "not UTF-8: byte 0xff", 1, 1),
        (b"\x00", "expecting value", 1, 1),
        (b"\xc2\xa0", "expecting value", 1, 1),
    ],
    ids=lambda value: title(value, 30),
)
def test_body_is_refused_with_its_place(body: bytes, message: str, line: int, column: int) -> None:
    with pytest.raises(BodyError) as caught:
        decode_body(body)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_depth_is_limited_at_any_shape() -> None:
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}"), (b'[[],{"]":', b"}]")):
        step = 2 if len(opened) > 8 else 1
        inside = MAX_DEPTH // step
        decode_body(opened * (inside - 1) + b"[]" + closed * (inside - 1))
        for depth in (inside + 1, 500, 5_000, 200_000):
            with pytest.raises(BodyError, match="nested more than 128 deep") as caught:
                decode_body(opened * depth + b"1" + closed * depth)
            assert caught.value.line == 1
            if len(opened) == 1:
                assert caught.value.column == MAX_DEPTH + 1


def test_many_brackets_that_are_not_deep_are_fine() -> None:
    rows = [{"a": [], "b": {"c": "[{" * 100}}] * 300
    assert decode_body(json.dumps(rows).encode()) == rows
    with pytest.raises(BodyError, match="nested") as caught:
        decode_body(b'["' + b"]" * 200 + b'\\"", ' + b"[" * 200 + b"]" * 201)
    assert caught.value.column == len('["') + 200 + len('\\"", ') + MAX_DEPTH


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_json_values_make_the_round_trip(value: Any) -> None:
    assert decode_body(encode_reply(value)) == value
    assert decode_body(json.dumps(value).encode()) == value
    assert json.loads(encode_reply(value)) == value


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text('[]{}":,0123456789.eE+-\\u dabNIfint\n\ud800', max_size=40))
def test_arbitrary_bodies_raise_body_errors_only(body: bytes | str) -> None:
    data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    try:
        decode_body(data)
    except BodyError as error:
        assert min(error.line, error.column) >= 1  # noqa: PT017


def test_damaged_bodies_raise_body_errors_only() -> None:
    source = random.Random(3)
    original = json.dumps({"a": [1, 2.5, "\ud83d\ude00", None, {"b": '\\"[', "ä": True}], "c": 1e20}).encode()
    for _ in range(20_000):
        data = bytearray(original)
        for _ in range(source.randint(1, 3)):
            data[source.randrange(len(data))] = source.choice(b'[]{}",:\\ud8N1e9\xff \n')
        try:
            decode_body(bytes(data))
        except BodyError as error:
            assert error.line >= 1  # noqa: PT017


# --- replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True, 2.5, "ä"]}, '{"a":[1,null,true,2.5,"ä"]}'),
        ("text", '"text"'),
        (2**64, str(2**64)),
        (-(10**50), str(-(10**50))),
        (Decimal("1.20"), '"1.20"'),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), '"2024-01-02T03:04:05Z"'),
        (
            datetime(2024, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=5, minutes=30))),
            '"2024-01-02T03:04:05.000006+05:30"',
        ),
        (datetime(2024, 1, 2), '"2024-01-02T00:00:00"'),
        (date(2024, 1, 2), '"2024-01-02"'),
        (time(1, 2, tzinfo=UTC), '"01:02:00Z"'),
        (timedelta(days=1), '"P1D"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ({1}, "[1]"),
        (frozenset({"a"}), '["a"]'),
        ((1, (2,)), "[1,[2]]"),
        (b"\x00\xff", '"AP8="'),
        (samples.Color.RED, '"r"'),
        (samples.Level.HIGH, "2"),
        (samples.IntAccess(3), "3"),
        (samples.Plain(1, (2,)), '{"a":1,"b":[2]}'),
        (samples.Struct(1), '{"a":1,"b":null}'),
        (samples.Point(1), "[1,7]"),
        (Row(1, Row(a=2)), '[1,{"a":2}]'),
        (Row(a=None), '{"a":null}'),
        (collections.OrderedDict(a=1), '{"a":1}'),
        (collections.deque([1]), "[1]"),
        (collections.ChainMap({"a": 1}), '{"a":1}'),
        (type("Text", (str,), {})("x"), '"x"'),
        (type("Number", (int,), {})(5), "5"),
        ({1: 2, 2.5: 3, date(2024, 1, 2): 4, samples.Level.LOW: 5}, '{"1":5,"2.5":3,"2024-01-02":4}'),
        ({True: 1, None: 2, "x": [{False: None}]}, '{"true":1,"null":2,"x":[{"false":null}]}'),
        (msgspec.Raw(b"[1]"), "[1]"),
    ],
    ids=lambda value: title(value, 30),
)
def test_reply_is_written(value: Any, text: str) -> None:
    assert encode_reply(value).decode() == text
    assert encode_reply([value]).decode() == f"[{text}]"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_is_an_error_wherever_it_stands(number: float) -> None:
    subclass = type("Number", (float,), {})(number)
    for value in (
        *(
            number,
            [number],
            {"a": {"b": number}},
            (number,),
            {number},
            samples.Plain(number),
            samples.Struct(number),
        ),
        *(
            samples.Point(number),
            Row(number),
            Row(a=[number]),
            {True: number},
            collections.deque([number]),
            subclass,
        ),
    ):
        with pytest.raises(ReplyEncodeError, match=f"holds {number}"):
            encode_reply(value)
    with pytest.raises(ReplyEncodeError, match=r"at \['features'\]\['x'\]\[1\]"):
        encode_reply({"features": {"x": [None, number]}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (samples.NotStorable(), "sample_classes.NotStorable, which JSON cannot say"),
        ([1j], "complex, which JSON"),
        ({"a": object()}, "a object, which JSON"),
        ((item for item in [1]), "generator, which JSON"),
        (samples.Plain, "type, which JSON"),
        ({(1, 2): 3}, "a tuple as a key, which JSON"),
        ({True: 1, "a": [{(1,): 1}]}, "a tuple as a key, which JSON"),
        ("\ud800", "half of a surrogate pair"),
        (10**5000, "cannot be written as JSON"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_reply_that_json_cannot_say_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ReplyEncodeError) as caught:
        encode_reply(value)
    assert message in caught.value.message


def test_reply_that_contains_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ReplyEncodeError, match="contains itself"):
        encode_reply(ring)

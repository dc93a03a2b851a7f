"""Keys as people write them: each is found again, and a plain word is what it looks like."""

from __future__ import annotations

import datetime
import enum
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_flink.errors import UsageError
from mini_flink.key_text import as_json, readings, written
from mini_flink.keys import encode_key


class Colour(enum.Enum):
    RED = 1


PARTS = st.one_of(
    st.text(),
    st.integers(),
    st.booleans(),
    st.binary(),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
    st.just(Colour.RED),
)
KEYS = st.recursive(PARTS, lambda parts: st.lists(parts, max_size=4).map(tuple), max_leaves=8)


@given(KEYS)
def test_a_key_that_was_written_is_read_as_itself(key: Any) -> None:
    encoded = encode_key(key)
    assert readings(written(encoded))[0].encoded == encoded
    json.dumps(as_json(encoded)).encode()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("17", [17, "17"]),
        ("true", [True, "true"]),
        ('"17"', ["17"]),
        ("ann", ["ann"]),
        ('["a", 1]', [("a", 1), '["a", 1]']),
        ("1.5", ["1.5"]),
        ("null", ["null"]),
        ('{"a": 1}', ['{"a": 1}']),
        ('{"$bytes": "00ff"}', [b"\x00\xff", '{"$bytes": "00ff"}']),
        ("9" * 5000, ["9" * 5000]),
        ("[" * 5000, ["[" * 5000]),
        ("-", ["-"]),
        ("", [""]),
    ],
)
def test_json_comes_first_and_then_the_string(text: str, keys: list[Any]) -> None:
    assert [reading.encoded for reading in readings(text)] == [encode_key(key) for key in keys]


@pytest.mark.parametrize("text", ['{"$uuid": 5}', '{"$bytes": "zz"}', '{"$encoded": "xx"}', '{"$date": "x"}'])
def test_what_looks_like_a_form_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no key") as refused:
        readings(text)
    as_string = refused.value.help.rpartition("written ")[2]
    assert readings(as_string)[0].encoded == encode_key(text)


def test_what_json_has_not_is_an_object_of_one_field() -> None:
    key = uuid.UUID(int=7), datetime.date(2026, 1, 31), b"\x01"
    assert as_json(encode_key(key)) == [{"$uuid": str(key[0])}, {"$date": "2026-01-31"}, {"$bytes": "01"}]
    assert list(as_json(encode_key(Colour.RED))) == ["$encoded"]

"""What is written is read again: all kinds of state, all types of keys, any values."""

from __future__ import annotations

import csv
import datetime
import decimal
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.keys import encode_key, key_encoder
from mini_flink.state_processor import SavepointReader, SavepointWriter, StateInfo
from mini_flink.values import encode, encoder
from tests.codec.sample_classes import Color, Plain, Struct
from tests.state_processor.jobs.keeping import Mean

TOTAL: ValueStateDescriptor[Any] = ValueStateDescriptor("total")
SEEN: ListStateDescriptor[Any] = ListStateDescriptor("seen")
PARTS: MapStateDescriptor[Any, Any] = MapStateDescriptor("parts")
LARGEST: ReducingStateDescriptor[Any] = ReducingStateDescriptor("largest", max)
MEAN = AggregatingStateDescriptor("mean", Mean())

MOMENT = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
SOME_KEYS: list[Any] = [
    "", "a", "ключ", "\ud800", "k" * 100_000, b"", b"\x00\xff", 0, -1, 1 << 70, True, False, Color.RED,
    uuid.UUID(int=7), datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12), MOMENT,
    (), ("a", 1), ("a", (uuid.UUID(int=1), datetime.date(1, 1, 1))), (True, b"x" * 1000),
]  # fmt: skip

plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=20)
)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
single_keys = st.one_of(
    st.text(), st.binary(), st.integers(), st.booleans(), st.uuids(), st.dates(), st.sampled_from(Color)
)
keys = single_keys | st.tuples(single_keys, single_keys)


def write(
    folder: str | Path, descriptor: StateDescriptor[Any], items: Any, max_parallelism: int = 128
) -> Iterator[tuple[Any, Any]]:
    """What is read after it was written."""
    writer: Any = SavepointWriter.new_savepoint("shop", max_parallelism)
    written = writer.with_operator("total", descriptor, items).write(folder)
    savepoint: Any = SavepointReader.read(written.path)
    found: Iterator[tuple[Any, Any]] = savepoint.read_keyed_state("total", descriptor)
    return found


def same(found: Any, expected: Sequence[tuple[Any, Any]]) -> bool:
    """In any order; with types: 1 is not True."""
    return sorted(map(encode, map(list, found))) == sorted(map(encode, map(list, expected)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(keys, values), max_size=20, unique_by=lambda pair: encode_key(pair[0])), st.data())
def test_what_is_written_is_read(items: list[tuple[Any, Any]], data: st.DataObject) -> None:
    max_parallelism = data.draw(st.sampled_from([1, 2, 128, 1000]))
    with tempfile.TemporaryDirectory() as folder:
        not_none = [(key, value) for key, value in items if value is not None]
        assert same(write(folder, TOTAL, items, max_parallelism), not_none)
        assert same(write(folder, LARGEST, items, max_parallelism), items)
        assert same(write(folder, MEAN, items, max_parallelism), items)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(keys, st.lists(values, max_size=5)), max_size=12, unique_by=lambda pair: encode_key(pair[0])
    )
)
def test_lists_that_are_written_are_read(items: list[tuple[Any, list[Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert same(write(folder, SEEN, items), [pair for pair in items if pair[1]])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(keys, st.dictionaries(st.text() | st.uuids(), values, max_size=5)),
        max_size=12,
        unique_by=lambda pair: encode_key(pair[0]),
    )
)
def test_maps_that_are_written_are_read(items: list[tuple[Any, dict[Any, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {encode_key(key): entries for key, entries in write(folder, PARTS, items)}
    assert found == {encode_key(key): entries for key, entries in items if entries}


def test_keys_of_all_types_are_read_as_they_were(tmp_path: Path) -> None:
    items = [(key, number) for number, key in enumerate(SOME_KEYS)]
    found = {number: key for key, number in write(tmp_path, TOTAL, items)}
    assert [found[number] for number in range(len(SOME_KEYS))] == SOME_KEYS
    assert [type(found[number]) for number in range(len(SOME_KEYS))] == list(map(type, SOME_KEYS))


def test_a_map_has_keys_of_all_types_too(tmp_path: Path) -> None:
    entries = {key: number for number, key in enumerate(SOME_KEYS) if key not in (True, False)}
    items = [(key, entries) for key in SOME_KEYS]
    assert [found for _, found in write(tmp_path, PARTS, items)] == [entries] * len(SOME_KEYS)


@pytest.mark.parametrize(
    "value", [Plain(1, Plain("x")), Struct((1,)), Color.RED, {1, 2}, decimal.Decimal("0.10")]
)
def test_values_of_classes_are_read_as_they_were(tmp_path: Path, value: Any) -> None:
    assert list(write(tmp_path, TOTAL, [("k", value)])) == [("k", value)]


def test_a_list_may_hold_none_and_be_given_as_a_tuple(tmp_path: Path) -> None:
    assert list(write(tmp_path, SEEN, {"k": (1, None, "x")})) == [("k", [1, None, "x"])]


def test_items_may_be_a_csv(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,1\nb,2\n")
    with rows.open(newline="") as file:
        found = dict(write(tmp_path / "savepoints", TOTAL, ((key, int(n)) for key, n in csv.reader(file))))
    assert found == {"a": 1, "b": 2}


def test_more_than_fits_into_memory_at_once(tmp_path: Path) -> None:
    """Half a million items are more than one run."""
    number = 500_000
    found = write(tmp_path, TOTAL, ((f"k{n * 7919 % number}", n) for n in range(number)))
    assert sum(value for _, value in found) == sum(range(number))


def test_several_operators_with_several_states(tmp_path: Path) -> None:
    written = (
        SavepointWriter.new_savepoint("shop", max_parallelism=7)
        .with_operator("b", ValueStateDescriptor("x", int), {"k": 1})
        .with_operator("a", ListStateDescriptor("x", str), {"k": ["l"]})
        .with_operator("b", MapStateDescriptor("y", str, float), {"k": {"m": 0.5}})
        .write(tmp_path)
    )
    assert (written.job, written.keys) == ("shop", 3)
    with SavepointReader.read(written.path) as savepoint:
        assert (savepoint.id, savepoint.job, savepoint.max_parallelism) == (written.id, "shop", 7)
        assert savepoint.operators == {
            "b": (StateInfo("x", "value", "int"), StateInfo("y", "map", "str, float")),
            "a": (StateInfo("x", "list", "str"),),
        }
        assert list(savepoint.read_keyed_state("b", ValueStateDescriptor("x", int))) == [("k", 1)]
        assert list(savepoint.read_keyed_state("a", ListStateDescriptor("x", str))) == [("k", ["l"])]
        assert list(savepoint.read_keyed_state("b", MapStateDescriptor("y", str, float))) == [
            ("k", {"m": 0.5})
        ]
        assert list(savepoint.dead_letters()) == []
        savepoint.verify()


def test_one_without_state_can_be_filled_later(tmp_path: Path) -> None:
    empty = SavepointWriter.new_savepoint("shop").write(tmp_path)
    filled = (
        SavepointWriter.from_existing_savepoint(empty.path)
        .with_operator("total", TOTAL, {"k": 1})
        .write(tmp_path)
    )
    assert [list(SavepointReader.read(one.path).operators) for one in (empty, filled)] == [[], ["total"]]


def test_the_latest_of_a_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = SavepointWriter.new_savepoint("shop").write(tmp_path)
    assert SavepointReader.read(tmp_path).id == written.id
    monkeypatch.chdir(tmp_path)
    assert SavepointReader.read(written.id).id == SavepointReader.read("latest").id == written.id


def test_a_url_is_written_and_read() -> None:
    written = (
        SavepointWriter.new_savepoint("shop")
        .with_operator("total", TOTAL, {"k": 1})
        .write("memory://processor")
    )
    assert written.path == f"memory://processor/{written.id}"
    with SavepointReader.read(written.path) as savepoint:
        assert list(savepoint.read_keyed_state("total", TOTAL)) == [("k", 1)]


@given(keys | values)
def test_encoding_many_is_encoding_each(value: Any) -> None:
    assert encoder()(value) == encode(value)


@given(st.lists(keys, max_size=5))
def test_encoding_many_keys_is_encoding_each(some: list[Any]) -> None:
    encode_one = key_encoder()
    assert [encode_one(key) for key in some] == [encode_key(key) for key in some]

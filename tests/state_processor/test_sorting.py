"""Items in any number come out in order, also by way of a file; a key that comes twice is found."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_flink.errors import StorageError
from mini_flink.state_processor.sorting import DuplicateKeyError, Item, Sorter

KEYS = st.binary(min_size=1, max_size=6)
VALUES = st.one_of(st.none(), st.binary(max_size=40))
SMALL = 1000  # bytes, so that a few items are a run


@given(st.dictionaries(KEYS, VALUES, max_size=80), st.sampled_from([0, SMALL, 1 << 20]))
def test_items_come_out_in_order(items: dict[bytes, bytes | None], run_bytes: int) -> None:
    with Sorter(run_bytes) as sorter:
        sorter.fill(items.items())
        assert list(sorter.items()) == sorted(items.items())


def test_several_fillings_are_one() -> None:
    with Sorter(SMALL) as sorter:
        for number in range(40):
            sorter.fill([(b"%d" % number, b"x")])
        assert [int(key) for key, _ in sorter.items()] == sorted(range(40), key=str)


def test_runs_of_many_blocks_are_merged() -> None:
    items = {b"%06d" % (number * 7919 % 20_000): b"v" * (number % 50) for number in range(20_000)}
    with Sorter(1 << 20) as sorter:
        sorter.fill(items.items())
        assert list(sorter.items()) == sorted(items.items())


def test_an_item_may_be_larger_than_a_run() -> None:
    large = b"v" * 300_000
    with Sorter(SMALL) as sorter:
        sorter.fill([(b"b", large), (b"c", b""), (b"a", large)])
        assert list(sorter.items()) == [(b"a", large), (b"b", large), (b"c", b"")]


@given(st.lists(KEYS, min_size=1, max_size=60, unique=True), st.data(), st.sampled_from([0, SMALL, 1 << 20]))
def test_a_key_that_comes_twice_is_found(keys: list[bytes], data: st.DataObject, run_bytes: int) -> None:
    again = data.draw(st.sampled_from(keys))
    keys.insert(data.draw(st.integers(0, len(keys))), again)
    with pytest.raises(DuplicateKeyError) as caught:
        sort([(key, b"v" * 20) for key in keys], run_bytes)
    assert caught.value.key == again


def sort(items: list[Item], run_bytes: int) -> list[Item]:
    with Sorter(run_bytes) as sorter:
        sorter.fill(items)
        return list(sorter.items())


def test_a_temporary_file_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with Sorter(0) as sorter, pytest.raises(StorageError, match=r"temporary file in .*nowhere: No such file"):
        sorter.fill([(b"a", b"1")])

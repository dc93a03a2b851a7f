"""Filling a new table: whatever the order, it holds what a dict would; it is there only when it is whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_flink.errors import CorruptionError, FolderError, StorageFullError
from mini_flink.state.lmdb import LmdbLoader, LmdbTable

MAP_BYTES = 1 << 28

item_keys = st.one_of(
    st.binary(min_size=1, max_size=3),
    st.sampled_from([b"k" * 510, b"k" * 511, b"k" * 512, b"k" * 600 + b"1", b"k" * 600 + b"2"]),
)
items = st.tuples(item_keys, st.binary(max_size=3))
puts = st.tuples(st.just("put"), st.lists(items, max_size=15))
changes = st.tuples(
    st.just("apply"), st.lists(st.tuples(item_keys, st.none() | st.binary(max_size=3)), max_size=9)
)
syncs = st.tuples(st.just("sync"), st.just([]))


def loader_in(folder: Path, map_bytes: int = MAP_BYTES) -> LmdbLoader:
    return LmdbLoader(folder / "table", map_size_bytes=map_bytes, generation=2)


def content(folder: Path) -> list[tuple[bytes, bytes]]:
    with closing(LmdbTable(folder / "table", map_size_bytes=MAP_BYTES, generation=2)) as table:
        assert table.commit_number == 0
        return list(table.range(b"", None))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(puts, changes, syncs), max_size=6))
def test_it_holds_what_a_dict_would(steps: list[tuple[str, list[tuple[bytes, bytes | None]]]]) -> None:
    model: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as path:
        loader = loader_in(Path(path))
        for kind, given_items in steps:
            if kind == "sync":
                loader.sync()
            elif kind == "apply":
                loader.apply(given_items)
            else:
                loader.put((key, value) for key, value in given_items if value is not None)
            for key, value in given_items:
                if value is None:
                    model.pop(key, None)
                else:
                    model[key] = value
        loader.finish()
        assert content(Path(path)) == sorted(model.items())


def test_more_than_a_transaction_takes_goes_on_in_the_next(tmp_path: Path) -> None:
    count = 450_000
    loader = loader_in(tmp_path)
    loader.put((b"K%07d" % number, b"") for number in range(0, count, 2))
    loader.put((b"K%07d" % number, b"") for number in range(1, count, 2))  # between what is there
    loader.put((b"L%02d" % number, bytes(1 << 20)) for number in range(70))
    loader.finish()
    found = content(tmp_path)
    assert [key for key, _ in found[:count]] == [b"K%07d" % number for number in range(count)]
    assert [(key, len(value)) for key, value in found[count:]] == [(b"L%02d" % n, 1 << 20) for n in range(70)]


def test_there_is_no_table_before_it_is_finished(tmp_path: Path) -> None:
    loader = loader_in(tmp_path)
    loader.put([(b"a", b"1")])
    loader.sync()
    loader.close()
    loader.close()
    assert not (tmp_path / "table" / "data.mdb").exists()
    assert content(tmp_path) == []  # what opens it makes a new one and removes the draft
    assert not (tmp_path / "table" / "data.mdb.new").exists()


def test_it_is_of_its_generation(tmp_path: Path) -> None:
    loader_in(tmp_path).finish()
    with pytest.raises(FolderError, match="of generation 2, not of 1"):
        LmdbTable(tmp_path / "table", map_size_bytes=MAP_BYTES, generation=1)


def test_an_error_of_whoever_gives_the_items_comes_through(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"1"
        raise CorruptionError("the source is damaged")

    with closing(loader_in(tmp_path)) as loader, pytest.raises(CorruptionError, match="source is damaged"):
        loader.put(broken())


def test_no_space_is_said_by_its_name(tmp_path: Path) -> None:
    with closing(loader_in(tmp_path, 1 << 20)) as loader, pytest.raises(StorageFullError, match="no space"):
        loader.put((b"K%07d" % number, bytes(1000)) for number in range(5000))
    assert not (tmp_path / "table" / "data.mdb").exists()


def test_a_full_disk_is_said_by_its_name(small_disk: Path) -> None:
    with closing(loader_in(small_disk)) as loader:
        loader.put((b"K%07d" % number, bytes(1000)) for number in range(5000))
        with pytest.raises(StorageFullError, match="no space"):
            loader.finish()
    assert not (small_disk / "table" / "data.mdb").exists()

"""A chain of files laid over each other, against a dict to which the same changes were made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_flink.errors import CorruptionError, FolderError, SnapshotMissingError
from mini_flink.snapshots.chain import PartReader
from mini_flink.snapshots.item_file import write_items
from mini_flink.snapshots.manifest import FileEntry, Part
from mini_flink.snapshots.memory import MemoryStore
from tests.snapshots.places import put

Changes = dict[bytes, bytes | None]

short_keys = st.binary(min_size=1, max_size=2).map(lambda key: bytes(byte % 4 for byte in key))
changes = st.dictionaries(short_keys, st.none() | st.binary(max_size=3), max_size=12)


def chained(store: MemoryStore, chain: list[Changes]) -> Part:
    kinds = ["base", *["delta"] * len(chain)]
    files: list[FileEntry] = []
    for number, (kind, changed) in enumerate(zip(kinds, chain, strict=False)):
        files.append(write_items(store, f"{number}/w0.state", kind, sorted(changed.items())))  # type: ignore[arg-type]
    return Part(0, 9, tuple(files))


@given(st.lists(changes, max_size=5), short_keys, st.none() | short_keys)
def test_it_reads_as_the_dict_that_had_the_same_changes(
    chain: list[Changes], start: bytes, stop: bytes | None
) -> None:
    store = MemoryStore()
    reader = PartReader(store, chained(store, chain))
    model: dict[bytes, bytes] = {}
    for changed in chain:
        model.update({key: value for key, value in changed.items() if value is not None})
        for key in [key for key, value in changed.items() if value is None]:
            model.pop(key, None)
    ordered = sorted(model.items())
    assert list(reader.range(b"", None)) == ordered
    assert list(reader.scan(start)) == [item for item in ordered if item[0].startswith(start)]
    assert list(reader.range(start, stop)) == [
        item for item in ordered if item[0] >= start and (stop is None or item[0] < stop)
    ]
    for key in [*model, start]:
        assert reader.get(key) == model.get(key)
    reader.check()


def test_long_chains_of_long_files() -> None:
    store, model = MemoryStore(), {}
    chain: list[Changes] = [{b"%06d" % number: b"v" * 40 for number in range(5000)}]
    chain += [
        {b"%06d" % number: None if number % 3 else b"%d" % step for number in range(0, 6000, step + 1)}
        for step in range(1, 8)
    ]
    for changed in chain:
        model.update(changed)
    reader = PartReader(store, chained(store, chain))
    assert list(reader.scan(b"0")) == sorted(item for item in model.items() if item[1] is not None)


def test_a_reader_that_leaves_early_reads_no_more() -> None:
    store = MemoryStore()
    part = chained(store, [{b"a": b"1", b"b": b"x" * 100_000, b"c": b"3"}])
    data = bytearray(store.contents["0/w0.state"])
    data[-30] ^= 1  # in the second block
    put(store, "0/w0.state", bytes(data))
    reader = PartReader(store, part)
    assert reader.get(b"a") == b"1"
    assert reader.commit_number == 9
    with pytest.raises(CorruptionError, match=r"0/w0\.state is damaged"):
        list(reader.scan(b"c"))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_damage_in_any_file_of_the_chain_is_found_before_it_is_given_out(number: int) -> None:
    store = MemoryStore()
    part = chained(store, [{b"a": b"1", b"c": b"3"}, {b"b": b"2"}, {b"c": None}])
    path = part.files[number].path
    data = store.contents[path]
    for position in range(len(data)):
        put(store, path, data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        reader = PartReader(store, part)
        with pytest.raises((CorruptionError, FolderError), match=path):
            list(reader.range(b"", None))
        with pytest.raises((CorruptionError, FolderError), match=path):
            reader.check()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_file_that_is_missing_or_of_another_size_is_found_at_once(number: int) -> None:
    store = MemoryStore()
    part = chained(store, [{b"a": b"1"}, {b"b": b"2"}, {b"c": None}])
    path = part.files[number].path
    put(store, path, store.contents[path][:-1])
    with pytest.raises(CorruptionError, match=rf"{path} has \d+ bytes"):
        PartReader(store, part)
    store.remove(path)
    with pytest.raises(SnapshotMissingError, match=path):
        PartReader(store, part)

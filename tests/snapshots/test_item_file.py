"""The item file: its bytes, which must stay readable, and that no damage to them is ever read as items."""

from __future__ import annotations

import io
from random import Random

import pytest

from mini_flink.errors import CorruptionError, FolderError, SnapshotMissingError
from mini_flink.snapshots import item_file
from mini_flink.snapshots.item_file import Item, ItemWriter, check_file, read_items, write_items
from mini_flink.snapshots.memory import MemoryStore
from tests.snapshots.places import content, put

GOLDEN_ITEMS: list[Item] = [(b"D1", b""), (b"S\x00\x07key", b"value"), (b"T", None)]
GOLDEN_1 = bytes.fromhex(
    "4d46534e4150463101000000e57289941a000000aea6656c96c4024431c400c4"
    "065300076b6579c40576616c7565c40154c000000000e38e434d030000000000"
    "00004d46534e41504531"
)


def written(items: list[Item]) -> bytes:
    store = MemoryStore()
    write_items(store, "f", "base", items)
    return store.contents["f"]


def items_in(data: bytes, start: bytes = b"", stop: bytes | None = None) -> list[Item]:
    return list(read_items(io.BytesIO(data), "a/f", start, stop))


def several_blocks() -> list[Item]:
    rng = Random(3)
    keys = sorted({rng.randbytes(rng.choice([1, 5, 300])) for _ in range(2500)})
    return [(key, rng.choice([None, b"", rng.randbytes(200)])) for key in keys]


def test_the_bytes_of_format_1() -> None:
    assert item_file.FORMAT_VERSION == 1
    assert written(GOLDEN_ITEMS) == GOLDEN_1
    assert items_in(GOLDEN_1) == GOLDEN_ITEMS


@pytest.mark.parametrize("items", [[], GOLDEN_ITEMS, several_blocks()], ids=["none", "few", "many"])
def test_what_was_written_is_read(items: list[Item]) -> None:
    store = MemoryStore()
    entry = write_items(store, "a/f", "delta", items)
    assert (entry.path, entry.kind, entry.items) == ("a/f", "delta", len(items))
    assert entry.size_bytes == store.size("a/f")
    assert items_in(content(store, "a/f")) == items
    check_file(store, entry)


def test_many_items_lie_in_several_blocks_and_a_large_one_in_its_own() -> None:
    items: list[Item] = [(b"a", b"x"), (b"b", b"y" * (1 << 20)), (b"c", b"z")]
    assert items_in(written(items)) == items
    assert len(written(several_blocks())) > 3 * item_file.BLOCK_BYTES


def test_ranges() -> None:
    items = several_blocks()
    data = written(items)
    keys = [key for key, _ in items]
    for start in (b"", b"\x10", keys[3], keys[1000], b"\xff\xff"):
        assert items_in(data, start) == [item for item in items if item[0] >= start]
        for stop in (b"", b"\x00", b"\x11", keys[1500], keys[-3]):
            assert items_in(data, start, stop) == [item for item in items if start <= item[0] < stop]


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b""]])
def test_a_key_that_is_not_behind_the_last_is_refused_and_nothing_stays(keys: list[bytes]) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="comes after"):
        write_items(store, "a/f", "base", [(key, b"") for key in keys])
    assert (store.list(), store.unfinished()) == ([], [])


def test_an_item_that_no_reader_would_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_file, "_MAX_BLOCK_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="too large"):
        write_items(MemoryStore(), "a/f", "base", [(b"a", b"x" * (1 << 20))])


def test_every_flipped_bit_is_found() -> None:
    for position in range(len(GOLDEN_1)):
        for bit in range(8):
            damaged = bytearray(GOLDEN_1)
            damaged[position] ^= 1 << bit
            with pytest.raises((CorruptionError, FolderError), match="a/f"):
                items_in(bytes(damaged))


def test_a_flipped_bit_anywhere_in_a_long_file_is_found_and_nothing_behind_it_is_read() -> None:
    items = several_blocks()
    data = written(items)
    rng = Random(4)
    for position in rng.sample(range(len(data)), 200):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.randrange(8)
        got: list[Item] = []
        with pytest.raises((CorruptionError, FolderError), match="a/f"):
            got.extend(read_items(io.BytesIO(bytes(damaged)), "a/f"))
        assert got == items[: len(got)]


def test_every_truncation_is_found() -> None:
    for length in range(len(GOLDEN_1)):
        with pytest.raises(CorruptionError, match="a/f is damaged: it is cut off"):
            items_in(GOLDEN_1[:length])


def block_borders(data: bytes) -> list[int]:
    borders, offset = [], 16
    while offset < len(data):
        borders.append(offset)
        offset += 8 + (int.from_bytes(data[offset : offset + 4], "little") or 16)
    return borders


def test_a_cut_at_the_border_of_blocks_is_found() -> None:
    data = written(several_blocks())
    borders = block_borders(data)
    assert len(borders) > 3
    for border in borders:
        with pytest.raises(CorruptionError, match="cut off"):
            items_in(data[:border])


def test_blocks_that_are_missing_twice_or_swapped_are_found() -> None:
    data = written(several_blocks())
    one, two, three, *_ = block_borders(data)
    for damaged in (
        data[:one] + data[two:],
        data[:two] + data[one:],
        data[:one] + data[two:three] + data[one:two] + data[three:],
    ):
        with pytest.raises(CorruptionError, match="a/f is damaged"):
            items_in(damaged)


@pytest.mark.parametrize("more", [b"\0", GOLDEN_1])
def test_bytes_behind_the_end_are_found(more: bytes) -> None:
    with pytest.raises(CorruptionError, match="does not end after item 3"):
        items_in(GOLDEN_1 + more)


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"mflnklog" + bytes(5000), b"{}" * 100, bytes(4096)])
def test_a_file_of_somebody_else_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptionError, match="a/f"):
        items_in(data)


def test_a_newer_format_is_refused_by_name() -> None:
    newer = GOLDEN_1[:8] + (2).to_bytes(4, "little") + b"whatever it may be, for as long as it likes"
    with pytest.raises(FolderError, match=r"a/f has item file format version 2, this .* up to 1") as caught:
        items_in(newer)
    assert "newer mini_flink" in caught.value.help


def test_a_file_is_compared_with_its_entry() -> None:
    store = MemoryStore()
    entry = write_items(store, "a/f", "base", GOLDEN_ITEMS)
    put(store, "a/f", written([(b"D2", b""), *GOLDEN_ITEMS[1:]]))
    with pytest.raises(CorruptionError, match=r"memory:snapshots/a/f is not the file that was written"):
        check_file(store, entry)
    put(store, "a/f", written(GOLDEN_ITEMS[1:]))
    with pytest.raises(CorruptionError, match=r"a/f has \d+ bytes, it was written with"):
        check_file(store, entry)
    store.remove("a/f")
    with pytest.raises(SnapshotMissingError, match="a/f is missing"):
        check_file(store, entry)


def test_a_writer_can_be_dropped() -> None:
    store = MemoryStore()
    writer = ItemWriter(store.write("a/f"), "base")
    writer.add(b"a", b"x" * 100_000)
    writer.abort()
    assert (store.list(), store.unfinished()) == ([], [])


@pytest.mark.parametrize("value_bytes", [10, 2_000_000])
def test_items_added_together_are_those_added_one_by_one(value_bytes: int) -> None:
    store = MemoryStore("add-all")
    items = [(b"%03d" % number, None if number % 5 == 0 else bytes(value_bytes)) for number in range(40)]
    writer = ItemWriter(store.write("a/all"), "delta")
    for start in range(0, len(items), 16):
        writer.add_all(items[start : start + 16])
    entry = writer.finish()
    with store.read("a/all") as stream:
        assert list(read_items(stream, "a/all")) == items
    assert entry.items == 40


@pytest.mark.parametrize(
    "later", [[(b"a", b"")], [(b"b", b"")], [(b"d", b""), (b"c", b"")], [(b"c", b""), (b"c", b"")]]
)
def test_items_added_together_ascend(later: list[tuple[bytes, bytes | None]]) -> None:
    writer = ItemWriter(MemoryStore("order").write("a/f"), "base")
    writer.add_all([(b"a", b""), (b"b", b"")])
    with pytest.raises(ValueError, match="out of order"):
        writer.add_all(later)

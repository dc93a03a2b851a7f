"""What a table says that it holds is what it holds: after writes, failures, restarts, and in a new table."""

from __future__ import annotations

from pathlib import Path
from random import Random

import lmdb
import pytest

from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbLoader, LmdbTable
from mini_flink.state.sizes import Size, Sizes, pack, unpack

MAP_BYTES = 1 << 26
SEAL_BYTES = 4


def opened(folder: Path) -> LmdbTable:
    return LmdbTable(folder, map_size_bytes=MAP_BYTES)


def some_key(random: Random) -> bytes:
    if random.random() < 0.2:
        return layout.DEAD_LETTER + b"%d" % random.randrange(20)
    if random.random() < 0.1:
        return layout.outbox_key(b"w1", random.randrange(50))
    prefix = layout.state_prefix(random.randrange(3), random.randrange(2), random.randrange(2))
    return prefix + b"k%d" % random.randrange(40) * random.choice([1, 1, 300])


def held(table: LmdbTable) -> Sizes:
    """Counted by looking at every item; a long key is stored shortened, and whole with its value."""
    states: dict[tuple[int, int], Size] = {}
    letters = Size(0, 0)
    for key, value in table.range(b"", None):
        size = len(key) + len(value) + SEAL_BYTES + (511 + 4 if len(key) > 511 else 0)
        if key.startswith(layout.STATE):
            _, operator, state = layout.split_state_prefix(key[: layout.STATE_PREFIX_BYTES])
            before = states.get((operator, state), Size(0, 0))
            states[operator, state] = Size(before.items + 1, before.bytes + size)
        elif key.startswith(layout.DEAD_LETTER):
            letters = Size(letters.items + 1, letters.bytes + size)
    return Sizes(states, letters)


@pytest.mark.parametrize("seed", range(5))
def test_the_counts_are_those_of_a_walk_over_the_table(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    table = opened(tmp_path / "t")
    assert table.held == Sizes({}, Size(0, 0))
    for number in range(1, 30):
        keys = {some_key(random) for _ in range(random.randrange(60))}
        deleted = random.random() / 2
        items = {
            key: None if random.random() < deleted else random.randbytes(random.randrange(90)) for key in keys
        }
        table.write(items.items(), number)
        table.renew()
        assert table.held == held(table)
        if random.random() < 0.2:
            table.close()
            table = opened(tmp_path / "t")
            assert table.held == held(table)
    table.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_table_that_was_filled_knows_what_it_holds(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    loader = LmdbLoader(tmp_path / "t", map_size_bytes=MAP_BYTES, generation=1)
    loader.put(sorted((some_key(random), b"a") for _ in range(300)))
    loader.put((some_key(random), b"bb") for _ in range(50))
    loader.sync()
    loader.apply((some_key(random), None if random.random() < 0.5 else b"ccc") for _ in range(80))
    loader.finish()
    table = opened(tmp_path / "t")
    assert table.held == held(table)
    assert table.held is not None
    assert table.held.states
    table.close()


def test_counts_that_somebody_else_has_outdated_count_for_nothing() -> None:
    counts = {b"\0\1\0": [2, 30]}
    assert unpack(pack(counts, 7), 7) == counts
    assert unpack(pack(counts, 7), 8) is None
    assert unpack(None, 0) is None


def test_a_table_without_counts_is_counted_when_it_is_opened(tmp_path: Path) -> None:
    """As one that an earlier version has written."""
    table = opened(tmp_path / "t")
    table.write([(layout.state_prefix(1, 2, 0) + b"k", b"value"), (layout.DEAD_LETTER + b"1", b"letter")], 1)
    expected = table.held
    table.close()
    environment = lmdb.open(str(tmp_path / "t"), max_dbs=3, map_size=MAP_BYTES, lib_version=0)
    with environment.begin(environment.open_db(b"meta"), write=True) as transaction:
        assert transaction.delete(b"sizes")
    environment.close()
    table = opened(tmp_path / "t")
    assert table.held == expected != Sizes({}, Size(0, 0))
    table.close()

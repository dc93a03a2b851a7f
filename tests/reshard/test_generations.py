"""Worker folders on disk: an old one settled, new ones built, and a worker's log and table on them."""

from __future__ import annotations

import os
import random
import stat
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from mini_flink import keys, wire
from mini_flink.config import Settings
from mini_flink.core.reshard import Reshard, build, load
from mini_flink.errors import CorruptionError, FolderError, StorageError
from mini_flink.runners.generations import GenerationBuilder, settle
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.state.memory import MemoryDisk, MemoryTable
from tests.reshard.job import (
    STATES,
    Entry,
    OldJob,
    Waiting,
    numbered,
    plan,
    uids,
    usual_indexes,
    usual_states,
)

MAP_BYTES = 1 << 28


def table_in(folder: Path, generation: int) -> LmdbTable:
    return LmdbTable(folder / "state", map_size_bytes=MAP_BYTES, generation=generation)


def old_job() -> OldJob:
    """Three workers with state of every kind, also under keys that LMDB alone would not take."""
    rng = random.Random(7)
    numbers = numbered(rng.sample(range(len(uids())), len(uids())))
    old = OldJob(plan(3, numbers, {"one": 5}), numbers, [usual_indexes()] * 3)
    names = [(uid, name) for uid, states in STATES.items() for name in states]
    old.hold(
        Entry(*rng.choice(names), keys.encode_key(key), b"", rng.randbytes(rng.randrange(60)))
        for key in [*range(2000), *("k" * rng.randrange(480, 540) + str(place) for place in range(200))]
    )
    old.send(Waiting(place % 3, "two", keys.encode_key(place % 9), 0) for place in range(50))
    return old


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_built_tables_hold_what_memory_does(tmp_path: Path, workers: int) -> None:
    old = old_job()
    numbers = numbered(range(len(uids()) - 1, -1, -1))
    new = plan(workers, numbers, {"one": 3})
    with closing(GenerationBuilder(tmp_path / "g1", 1, 3, MAP_BYTES)) as builder:
        for index, table in enumerate(old.tables):
            builder.put(index, table.items())
        builder.finish()
    with ExitStack() as stack:
        sources = [table_in(tmp_path / "g1" / f"w{index}", 1) for index in range(3)]
        for source in sources:
            stack.callback(source.close)
        reshard = Reshard(
            sources, new, operators=numbers, states=usual_states(new), old_operators=old.numbers
        )
        builder = GenerationBuilder(tmp_path / "g2", 2, workers, MAP_BYTES)
        load(reshard, builder.put)
        builder.finish()
        expected = [MemoryTable(MemoryDisk()) for _ in range(workers)]
        build(reshard, expected)
    for index, twin in enumerate(expected):
        with closing(table_in(tmp_path / "g2" / f"w{index}", 2)) as table:
            assert table.commit_number == 0
            assert list(table.range(b"", None)) == list(twin.range(b"", None))


def test_folders_are_private_and_of_their_generation(tmp_path: Path) -> None:
    builder = GenerationBuilder(tmp_path / "g4", 4, 2, MAP_BYTES)
    builder.finish()
    for folder in (tmp_path / "g4", tmp_path / "g4" / "w0", tmp_path / "g4" / "w1"):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    with pytest.raises(FolderError, match="is of generation 4"):
        table_in(tmp_path / "g4" / "w1", 5)


def test_where_a_folder_is_left_over_nothing_is_built(tmp_path: Path) -> None:
    GenerationBuilder(tmp_path / "g4", 4, 2, MAP_BYTES).close()
    assert not (tmp_path / "g4" / "w0" / "state" / "data.mdb").exists()
    with pytest.raises(StorageError, match="w0 cannot be written"):
        GenerationBuilder(tmp_path / "g4", 4, 2, MAP_BYTES)


def test_changes_come_over_what_was_put(tmp_path: Path) -> None:
    long = b"S" * 600
    with closing(GenerationBuilder(tmp_path / "g1", 1, 1, MAP_BYTES)) as builder:
        builder.put(0, [(b"Sa", b"1"), (b"Sc", b"1"), (long, b"1")])
        builder.sync()
        builder.apply(0, [(b"Sz", b"2"), (b"Sa", None), (long, b"2"), (b"Sx", None), (b"Sb", b"2")])
        builder.put(0, [(b"Sc", b"3"), (b"Sd", b"3")])
        builder.finish()
    with closing(table_in(tmp_path / "g1" / "w0", 1)) as table:
        found = list(table.scan(b"S"))
    assert found == [(long, b"2"), (b"Sb", b"2"), (b"Sc", b"3"), (b"Sd", b"3"), (b"Sz", b"2")]


# --- settling -----------------------------------------------------------------------------------------------

SETTINGS = Settings(state_map_bytes=MAP_BYTES, log_segment_bytes=1 << 16)


def key_of(key: object) -> bytes:
    return layout.state_prefix(1, 1, 0) + keys.encode_key(key)


def commit(links: list[list[object]], outputs: list[list[object]], changes: dict[bytes, bytes]) -> bytes:
    packed: bytes = wire.pack((1, 3, 1, 0, links, outputs, changes, []))
    return packed


def crash_with(folder: Path, *commits: bytes, flushed: int = 0) -> None:
    """What a worker leaves whose table had only the first ``flushed`` of its commits."""
    folder.mkdir()
    log = FileLog(folder / "log", segment_bytes=1 << 16, durable=True, generation=3)
    log.rewrite(log.recover(0))
    for number, payload in enumerate(commits, 1):
        log.append(number, payload)
        log.sync()
    log.close()
    with closing(table_in(folder, 3)) as table:
        if flushed:
            table.write([(key_of("old"), b"1")], flushed)


def settled(folder: Path) -> tuple[int, dict[bytes, bytes]]:
    with closing(table_in(folder, 3)) as table:
        return table.commit_number, dict(table.range(b"", None))


def test_what_only_the_log_has_is_in_the_table_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "w0"
    record = wire.pack((1, 1, None, b"v", *wire.NO_ORIGIN, 0, 0))
    crash_with(
        folder,
        commit([], [], {key_of("old"): b"1"}),
        commit([["g0", 5, 1, 0, 1]], [], {key_of("new"): b"1"}),
        commit([["w1", 0, 0, 1, 4]], [["w1", 2, [record, record]]], {}),
        flushed=1,
    )
    assert settle(folder, "w0", 3, 2, 1, SETTINGS) == 2
    number, items = settled(folder)
    assert number == 3
    channels = wire.unpack(items.pop(layout.CHANNELS))
    assert items == {
        key_of("old"): b"1",
        key_of("new"): b"1",
        layout.outbox_key(b"w1/0", 2): record,
        layout.outbox_key(b"w1/0", 3): record,
    }
    assert channels == [["w0", 0, 0, 0, 1], ["w1", 0, 0, 1, 4], ["g0", 5, 1, 0, 1]]


def test_outputs_alone_are_brought_over_too(tmp_path: Path) -> None:
    folder = tmp_path / "w0"
    record = wire.pack((1, 1, None, b"v", *wire.NO_ORIGIN, 0, 0))
    crash_with(folder, commit([["w1", 0, 0, 0, 2]], [["w1", 1, [record]]], {}))
    settle(folder, "w0", 3, 2, 1, SETTINGS)
    assert layout.outbox_key(b"w1/0", 1) in settled(folder)[1]


def test_settling_twice_is_settling_once(tmp_path: Path) -> None:
    folder = tmp_path / "w0"
    crash_with(folder, commit([["g0", 5, 1, 0, 1]], [], {key_of("new"): b"1"}))
    assert settle(folder, "w0", 3, 1, 1, SETTINGS) == 1
    before = settled(folder)
    assert settle(folder, "w0", 3, 1, 1, SETTINGS) == 0
    assert settled(folder) == before


def test_a_worker_that_never_came_to_anything_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "w0"
    folder.mkdir()
    assert settle(folder, "w0", 3, 1, 1, SETTINGS) == 0
    assert settled(folder) == (0, {})


def test_a_damaged_log_is_not_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "w0"
    crash_with(folder, *(commit([], [], {key_of(number): b"x" * 9000}) for number in range(3)))
    [segment, *_] = sorted((folder / "log").glob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[data.index(b"x" * 9000) + 10] ^= 1
    segment.write_bytes(data)
    with pytest.raises(CorruptionError):
        settle(folder, "w0", 3, 1, 1, SETTINGS)
    with closing(table_in(folder, 3)) as table:
        assert table.commit_number == 0
    salvaging = replace(SETTINGS, accept_inconsistent_state=True)
    assert settle(folder, "w0", 3, 1, 1, salvaging) == 0

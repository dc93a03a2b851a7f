"""What only the table on LMDB can show: full maps and disks, versions, leftovers, large writes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import lmdb
import pytest

from mini_flink.errors import CorruptionError, FolderError, StorageError, StorageFullError
from mini_flink.state.lmdb import LmdbTable

MAP_BYTES = 1 << 30


def new_table(folder: Path, map_size_bytes: int = MAP_BYTES) -> LmdbTable:
    return LmdbTable(folder / "table", map_size_bytes=map_size_bytes)


def test_a_full_map_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    table = new_table(tmp_path, map_size_bytes=1 << 18)
    table.write([(b"k", b"before")], 1)
    with pytest.raises(StorageFullError):
        table.write([(b"k", b"after"), *((b"%06d" % index, bytes(100)) for index in range(5000))], 2)
    table.renew()
    assert (table.get(b"k"), table.commit_number) == (b"before", 1)
    table.write([(b"k", b"after")], 2)
    table.renew()
    assert list(table.scan(b"")) == [(b"k", b"after")]
    table.close()


def test_a_full_disk_changes_nothing_and_can_be_tried_again(small_disk: Path) -> None:
    table = new_table(small_disk)
    table.write([(b"k", b"before")], 1)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600 << 10))
    items = [(b"k", b"after"), *((b"%06d" % index, bytes(100)) for index in range(3000))]
    for _ in range(3):
        with pytest.raises(StorageFullError):
            table.write(items, 2)
        table.renew()
        assert (table.get(b"k"), table.commit_number) == (b"before", 1)
    ballast.unlink()
    table.write(items, 2)
    table.close()
    table = new_table(small_disk)
    assert list(table.scan(b"")) == sorted(items)
    assert table.commit_number == 2
    table.close()


def test_a_newer_version_and_another_generation_are_refused_by_name(tmp_path: Path) -> None:
    new_table(tmp_path).close()
    with pytest.raises(FolderError, match="generation 1, not of 2"):
        LmdbTable(tmp_path / "table", map_size_bytes=MAP_BYTES, generation=2)
    environment = lmdb.open(str(tmp_path / "table"), map_size=MAP_BYTES, max_dbs=3)
    meta = environment.open_db(b"meta")
    with environment.begin(write=True) as transaction:
        transaction.put(b"format_version", (9).to_bytes(8, "big"), db=meta)
    environment.close()
    with pytest.raises(FolderError, match="version 9, this mini_flink reads up to 2"):
        new_table(tmp_path)


def raw(folder: Path) -> tuple[lmdb.Environment, list]:
    """The table as LMDB sees it."""
    environment = lmdb.open(str(folder / "table"), map_size=MAP_BYTES, max_dbs=3)
    return environment, [environment.open_db(name) for name in (b"meta", b"records", b"long")]


@pytest.mark.parametrize("key", [b"k", b"k" * 600])
def test_a_flipped_bit_in_an_item_is_found_and_never_served(tmp_path: Path, key: bytes) -> None:
    table = new_table(tmp_path)
    table.write([(key, b"value")], 1)
    table.close()
    environment, (_, *databases) = raw(tmp_path)
    database = databases[len(key) > 511]
    with environment.begin(db=database) as transaction:
        ((stored_key, stored),) = transaction.cursor(database)
    environment.close()
    for bit in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        environment, (_, *databases) = raw(tmp_path)
        with environment.begin(write=True) as transaction:
            transaction.put(stored_key, bytes(flipped), db=databases[len(key) > 511])
        environment.close()
        table = new_table(tmp_path)
        with pytest.raises(CorruptionError, match="the checksum of an item differs"):
            table.get(key)
        table.close()


def test_an_item_under_a_flipped_key_is_found_by_a_scan(tmp_path: Path) -> None:
    table = new_table(tmp_path)
    table.write([(b"k", b"value")], 1)
    table.close()
    environment, (_, records, _) = raw(tmp_path)
    with environment.begin(write=True) as transaction:
        transaction.put(b"j", transaction.pop(b"k", db=records), db=records)
    environment.close()
    table = new_table(tmp_path)
    with pytest.raises(CorruptionError):
        list(table.scan(b""))
    table.close()


def test_a_table_of_format_1_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    new_table(tmp_path).close()
    environment, (meta, records, _) = raw(tmp_path)
    with environment.begin(write=True) as transaction:
        transaction.put(b"format_version", (1).to_bytes(8, "big"), db=meta)
        transaction.put(b"k", b"old", db=records)
    environment.close()
    table = new_table(tmp_path)
    assert table.get(b"k") == b"old"
    table.write([(b"l", b"new")], 1)
    table.close()
    table = new_table(tmp_path)
    assert list(table.scan(b"")) == [(b"k", b"old"), (b"l", b"new")]
    table.close()


def test_a_table_is_open_once(tmp_path: Path) -> None:
    table = new_table(tmp_path)
    with pytest.raises(StorageError):
        new_table(tmp_path)
    table.close()
    new_table(tmp_path).close()


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    new_table(tmp_path).close()
    (tmp_path / "table" / "data.mdb").write_bytes(bytes(8192))
    with pytest.raises(CorruptionError):
        new_table(tmp_path)


def test_a_creation_that_was_cut_off_begins_again(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "data.mdb.new").write_bytes(b"torn")
    table = new_table(tmp_path)
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == ["data.mdb", "lock.mdb"]
    table.write([(b"k", b"v")], 1)
    table.close()


def test_a_large_write_leaves_the_interpreter_to_others(tmp_path: Path) -> None:
    table = new_table(tmp_path)
    items = {b"%08x" % (index * 2654435761 % 2**32): bytes(100) for index in range(30_000)}
    writer = threading.Thread(target=table.write, args=(items.items(), 1))
    writer.start()
    gaps_s = []
    last_s = time.perf_counter()
    while writer.is_alive():
        time.sleep(0.0002)
        gaps_s.append(time.perf_counter() - last_s)
        last_s = time.perf_counter()
    gaps_s.sort()
    assert gaps_s[len(gaps_s) * 98 // 100] < 0.02
    table.close()

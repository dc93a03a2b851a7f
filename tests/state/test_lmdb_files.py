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
    with pytest.raises(FolderError, match="version 9, this mini_flink reads up to 1"):
        new_table(tmp_path)


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

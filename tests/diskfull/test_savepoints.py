"""A savepoint that is written from Python and does not fit: it says so, and leaves nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from mini_flink.datastream.state import ValueStateDescriptor
from mini_flink.errors import StorageFullError
from mini_flink.state_processor import SavepointWriter
from tests.diskfull.conftest import DISK_BYTES

VALUE_BYTES = 100_000


def writer(total_bytes: int) -> SavepointWriter:
    items = ((number, b"v" * VALUE_BYTES) for number in range(total_bytes // VALUE_BYTES))
    return SavepointWriter.new_savepoint("shop").with_operator("a", ValueStateDescriptor("s", bytes), items)


def test_nothing_is_left_of_one_that_does_not_fit(small_disk: Path) -> None:
    with pytest.raises(StorageFullError, match=r"w0.state"):
        writer(DISK_BYTES * 2).write(small_disk / "savepoints")
    assert list(small_disk.rglob("*")) == [small_disk / "savepoints"]
    writer(DISK_BYTES // 2).write(small_disk / "savepoints")


def test_temporary_files_that_do_not_fit(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(StorageFullError, match="temporary files in") as caught:
        writer(100 << 20).write(tmp_path / "savepoints")
    assert "TMPDIR" in caught.value.help
    assert not (tmp_path / "savepoints").exists()

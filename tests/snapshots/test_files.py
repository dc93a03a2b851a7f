"""What is peculiar to the folder: who may read it, what a dead writer leaves, and a disk that is full."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mini_flink.errors import StorageError, StorageFullError
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.item_file import write_items
from mini_flink.snapshots.location import default_location, open_store
from mini_flink.snapshots.manifest import snapshot_id
from tests.diskfull.conftest import small_disk  # noqa: F401 - a fixture
from tests.snapshots.places import FOLDER_ID, put, take


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a" / "snapshots")
    put(store, "id/w0.state", b"secret")
    for path in ("a", "a/snapshots", "a/snapshots/id"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/snapshots/id/w0.state").stat().st_mode) == 0o600


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "snapshots")
    assert Catalog(store).entries() == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_writer_left_can_be_written_again(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    dead = store.write("id/f")
    dead.write(b"a long leftover")
    assert store.unfinished() == ["id/f.unfinished"]
    put(FileStore(tmp_path), "id/f", b"new")
    assert (store.list(), store.unfinished()) == (["id/f"], [])
    assert (tmp_path / "id" / "f").read_bytes() == b"new"


def test_an_error_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file")
    store = FileStore(tmp_path / "snapshots")
    with pytest.raises(StorageError, match=f"cannot write {tmp_path}/snapshots/id/f: "):
        store.write("id/f")
    (tmp_path / "id").mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*/id: Is a directory"):
        FileStore(tmp_path).read("id")


@pytest.mark.parametrize("location", ["some/where", "{tmp}/some/where", "file://{tmp}/some/where"])
def test_locations_that_are_folders(tmp_path: Path, location: str) -> None:
    store = open_store(location.format(tmp=tmp_path), directory=str(tmp_path))
    assert isinstance(store, FileStore)
    assert store.location == f"{tmp_path}/some/where"


def test_the_default_location() -> None:
    assert default_location(None, "/data") == "/data/snapshots"
    assert default_location("s3://b/p", "/data") == "s3://b/p"


def free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_a_full_disk_leaves_nothing_and_gives_the_space_back(small_disk: Path) -> None:  # noqa: F811
    store = FileStore(small_disk / "snapshots")
    first = take(store, 1)
    id, before = snapshot_id(FOLDER_ID, 2), free(small_disk)
    too_much = ((b"%08d" % number, b"x" * 60_000) for number in range(before // 60_000 + 10))
    with pytest.raises(
        StorageFullError, match=f"no space left for {small_disk}/snapshots/{id}/w0.state"
    ) as caught:
        write_items(store, f"{id}/w0.state", "base", too_much)
    assert "--snapshot-dir" in caught.value.help
    assert Catalog(store).entries() == [first]
    assert store.unfinished() == []
    assert free(small_disk) >= before - 4096  # the empty folder stays
    assert Catalog(store).verify(first) == []
    take(store, 3)
    assert Catalog(store).latest().epoch == 3


def test_a_disk_that_is_full_to_the_last_byte(small_disk: Path) -> None:  # noqa: F811
    store = FileStore(small_disk / "snapshots")
    put(store, "id/small", b"x")
    with open(small_disk / "filler", "wb", buffering=0) as filler:
        while free(small_disk):
            filler.write(b"x" * 4096)
    with pytest.raises(StorageFullError):
        put(store, "id/more", b"x" * 5000)
    assert (store.list(), store.unfinished()) == (["id/small"], [])
    os.unlink(small_disk / "filler")
    put(store, "id/more", b"x" * 5000)

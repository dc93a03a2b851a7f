"""What base.py promises, on every kind of store, S3 among them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mini_flink.errors import CorruptionError, SnapshotMissingError
from mini_flink.snapshots.base import SnapshotStore
from tests.snapshots.places import content, put

OpenStore = Callable[[], SnapshotStore]
LARGE = bytes(range(256)) * (80 << 10)  # 20 MiB: S3 takes it in parts


def test_a_new_place_is_empty(store: SnapshotStore) -> None:
    assert store.list() == []
    assert store.list("a") == []
    assert store.unfinished() == []


def test_a_file_is_there_for_everyone_once_it_is_committed(open_place: OpenStore) -> None:
    ours, theirs = open_place(), open_place()
    writer = ours.write("a/b.state")
    writer.write(b"one")
    writer.write(b"two")
    assert theirs.list() == []
    with pytest.raises(SnapshotMissingError, match=r"a/b\.state is missing"):
        theirs.size("a/b.state")
    writer.commit()
    assert theirs.list() == ["a/b.state"]
    assert theirs.size("a/b.state") == 6
    assert content(theirs, "a/b.state") == b"onetwo"
    assert writer.path == "a/b.state"


@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
def test_files_of_any_size(store: SnapshotStore, data: bytes) -> None:
    writer = store.write("a/f")
    for start in range(0, len(data), 1 << 20):
        writer.write(data[start : start + (1 << 20)])
    writer.commit()
    assert store.size("a/f") == len(data)
    assert content(store, "a/f") == data


def test_reading_in_pieces(store: SnapshotStore) -> None:
    put(store, "a/f", b"0123456789")
    file = store.read("a/f")
    assert [file.read(4), file.read(4), file.read(4), file.read(4)] == [b"0123", b"4567", b"89", b""]
    file.close()


@pytest.mark.parametrize("data", [b"", b"x" * 1000, LARGE], ids=["empty", "small", "large"])
def test_what_is_dropped_was_never_there(store: SnapshotStore, data: bytes) -> None:
    writer = store.write("a/f")
    writer.write(data)
    writer.abort()
    writer.abort()
    assert (store.list(), store.unfinished()) == ([], [])
    with pytest.raises(RuntimeError):
        writer.write(b"more")
    with pytest.raises(RuntimeError):
        writer.commit()


def test_dropping_after_the_commit_changes_nothing(store: SnapshotStore) -> None:
    writer = store.write("a/f")
    writer.write(b"x")
    writer.commit()
    writer.abort()
    assert store.list() == ["a/f"]
    with pytest.raises(RuntimeError):
        writer.write(b"more")


def test_a_commit_replaces_what_was(store: SnapshotStore) -> None:
    put(store, "a/f", b"old and longer")
    writer = store.write("a/f")
    writer.write(b"new")
    assert content(store, "a/f") == b"old and longer"
    writer.commit()
    assert (content(store, "a/f"), store.size("a/f")) == (b"new", 3)


def test_lists_are_sorted_and_of_one_folder(store: SnapshotStore) -> None:
    paths = ["b/z", "b/y", "a/x", "ab/x", "top"]
    for path in paths:
        put(store, path, b"x")
    assert store.list() == sorted(paths)
    assert store.list("b") == ["b/y", "b/z"]
    assert store.list("a") == ["a/x"]
    assert store.list("c") == []


def test_what_is_removed_is_gone(open_place: OpenStore) -> None:
    ours, theirs = open_place(), open_place()
    put(ours, "a/x", b"x")
    put(ours, "a/y", b"y")
    assert theirs.list() == ["a/x", "a/y"]
    ours.remove("a/x")
    ours.remove("a/x")
    ours.remove("never/was")
    assert theirs.list() == ["a/y"]
    with pytest.raises(SnapshotMissingError):
        theirs.read("a/x")
    ours.remove("a/y")
    assert theirs.list("a") == []
    put(ours, "a/x", b"again")
    assert content(theirs, "a/x") == b"again"


@pytest.mark.parametrize("path", ["../f", "a/../../f", "/etc/passwd", "a//b", "", "a/./b", "a\\b", "a\0"])
def test_no_path_leads_out_of_the_place(store: SnapshotStore, path: str) -> None:
    with pytest.raises(CorruptionError, match="no path of a file"):
        store.write(path)
    with pytest.raises(CorruptionError, match="no path of a file"):
        store.read(path)


def test_two_files_at_once(store: SnapshotStore) -> None:
    one, two = store.write("a/one"), store.write("a/two")
    one.write(b"1")
    two.write(b"2")
    two.commit()
    assert store.list() == ["a/two"]
    one.commit()
    assert store.list() == ["a/one", "a/two"]
    store.close()

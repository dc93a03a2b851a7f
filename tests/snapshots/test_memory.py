"""Faults of the in-memory twin, which the simulation plans."""

from __future__ import annotations

import pytest

from mini_flink.errors import StorageError, StorageFullError
from mini_flink.snapshots.memory import MemoryStore
from mini_flink.state.memory import ProcessKilled
from tests.snapshots.places import content, put


def test_faults_happen_once_and_leave_nothing() -> None:
    store = MemoryStore("twin")
    store.fail_next("write", "full")
    store.fail_next("commit", "error")
    with pytest.raises(StorageFullError):
        put(store, "a/f", b"x")
    with pytest.raises(StorageError, match="commit of a/f failed, as planned"):
        put(store, "a/f", b"x")
    assert (store.list(), store.unfinished()) == ([], [])
    put(store, "a/f", b"x")
    store.fail_next("read", "error")
    with pytest.raises(StorageError):
        content(store, "a/f")
    assert content(store, "a/f") == b"x"
    assert store.location == "memory:twin"


def test_a_process_that_is_killed_leaves_what_it_had_done() -> None:
    store = MemoryStore()
    store.fail_next("write", "kill")
    with pytest.raises(ProcessKilled):
        put(store, "a/f", b"x")
    assert (store.list(), store.unfinished()) == ([], ["a/f.unfinished"])
    store.fail_next("commit", "kill")
    with pytest.raises(ProcessKilled):
        put(store, "a/f", b"x")
    assert (store.list(), store.unfinished()) == (["a/f"], [])
    store.fail_next("remove", "kill")
    with pytest.raises(ProcessKilled):
        store.remove("a/f")
    store.fail_next("read", "kill")
    with pytest.raises(ProcessKilled):
        store.read("a/f")
    assert store.list() == []

"""Which snapshots there are, which are whole, and which may go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mini_flink.errors import CorruptionError, SnapshotError, StorageError, StorageFullError
from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.catalog import Catalog, Damaged, find, locate
from mini_flink.snapshots.chain import PartReader
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.manifest import Manifest, encode_manifest, manifest_path, snapshot_id
from mini_flink.snapshots.memory import MemoryStore
from tests.snapshots.places import FOLDER_ID, MINUTE_MS, content, manifest, put, take

OTHER_FOLDER = 0xBEEF


def ids(catalog: Catalog) -> list[str]:
    return [entry.id for entry in catalog.entries()]


def id_of(epoch: int) -> str:
    return snapshot_id(FOLDER_ID, epoch)


def change(store: SnapshotStore, path: str, position: int) -> None:
    data = bytearray(content(store, path))
    data[position] ^= 1
    put(store, path, bytes(data))


# --- what is there ------------------------------------------------------------------------------------------


def test_a_snapshot_is_there_with_its_manifest(store: SnapshotStore) -> None:
    catalog = Catalog(store)
    assert (catalog.entries(), catalog.unfinished()) == ([], [])
    first = take(store, 1)
    second = take(store, 2, after=first, items={b"Sother": b"x"})
    assert catalog.entries() == [first, second]
    assert catalog.latest() == second
    assert catalog.get(first.id) == first
    assert catalog.verify(second) == []
    assert list(PartReader(store, second.parts[0]).scan(b"S")) == [(b"Skey", b"1"), (b"Sother", b"x")]
    assert catalog.unfinished() == []


def test_a_half_written_one_is_no_snapshot(store: SnapshotStore) -> None:
    whole = take(store, 1)
    half = take(store, 2, after=whole)
    store.remove(manifest_path(half.id))
    catalog = Catalog(store)
    assert catalog.entries() == [whole]
    assert catalog.unfinished() == [half.id]
    assert catalog.latest() == whole
    with pytest.raises(SnapshotError, match=f"{half.id} in .* was never finished"):
        catalog.get(half.id)


def test_what_a_killed_writer_left_is_no_snapshot(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    take(store, 1)
    writer = store.write(f"{id_of(2)}/w0.state")
    writer.write(b"cut off")
    again = Catalog(FileStore(tmp_path))
    assert ids(again) == [id_of(1)]
    assert again.unfinished() == [id_of(2)]
    assert (tmp_path / id_of(2) / "w0.state.unfinished").exists()


def test_the_older_files_of_a_chain_are_not_unfinished(store: SnapshotStore) -> None:
    first = take(store, 1)
    take(store, 2, after=first)
    store.remove(manifest_path(first.id))
    store.remove(f"{first.id}/w0.channels")
    assert Catalog(store).unfinished() == []


def test_other_files_are_left_alone(store: SnapshotStore) -> None:
    put(store, "README", b"ours")
    put(store, "photos/one", b"x")
    put(store, "manifest.json", b"{}")
    put(store, "deep/below/manifest.json", b"{}")
    put(store, "app/manifest.json", b'{"name": "an app"}')
    taken = take(store, 3)
    catalog = Catalog(store)
    damaged, found = catalog.entries()
    assert isinstance(damaged, Damaged)
    assert damaged.id == "app"
    assert "app/manifest.json is no manifest of a snapshot" in damaged.reason
    assert found == taken
    assert catalog.unfinished() == []
    catalog.retain(1, 0, 0, newest=taken)
    assert len(store.list()) == 5 + 3


def test_the_order_is_that_of_epochs_and_between_folders_that_of_time() -> None:
    store = MemoryStore()
    take(store, 1, created_ms=50)
    take(store, 2, created_ms=10)  # the clock was set back
    take(store, 3, created_ms=60)
    take(store, 7, folder_id=OTHER_FOLDER, created_ms=55)
    assert ids(Catalog(store)) == [id_of(1), id_of(2), snapshot_id(OTHER_FOLDER, 7), id_of(3)]


def test_latest_is_the_latest_that_is_whole_and_of_the_job() -> None:
    store = MemoryStore()
    catalog = Catalog(store)
    with pytest.raises(SnapshotError, match="no whole snapshot in memory:snapshots"):
        catalog.latest()
    first = take(store, 1)
    other = take(store, 5, folder_id=OTHER_FOLDER, job="other")
    for epoch in (2, 3, 4):
        take(store, epoch)
    store.remove(f"{id_of(4)}/w0.channels")
    put(store, f"{id_of(3)}/w0.state", b"short")
    change(store, manifest_path(id_of(2)), 30)
    assert catalog.latest() == other
    assert catalog.latest("shop") == first
    with pytest.raises(SnapshotError, match="no whole snapshot of job 'cart'"):
        catalog.latest("cart")
    assert [entry.id for entry in catalog.entries() if isinstance(entry, Damaged)] == [id_of(2)]


@pytest.mark.parametrize("name", ["w0.state", "w0.channels", "manifest.json"])
def test_a_latest_with_a_changed_bit_is_passed_over_and_named(tmp_path: Path, name: str) -> None:
    store = FileStore(tmp_path)
    first = take(store, 1)
    other = take(store, 1, folder_id=OTHER_FOLDER, created_ms=0)
    put(store, manifest_path(id_of(0)), b"older, and of no interest")
    second = take(store, 2)
    change(store, f"{second.id}/{name}", -3)
    for text in ("latest", str(tmp_path)):
        with pytest.warns(UserWarning, match="passed over") as warned:
            assert find(text, "/", str(tmp_path))[1] == first
        passed_over = f"the snapshot {second.id} is damaged and passed over: {tmp_path}/{second.id}/{name}"
        (said,) = (str(warning.message) for warning in warned)
        assert said.startswith(passed_over)
    with pytest.raises(CorruptionError, match=f"{second.id}/{name}") as caught:
        find(second.id, "/", str(tmp_path))
    assert "snapshot verify" in caught.value.help
    change(store, f"{first.id}/w0.state", -3)
    with pytest.warns(UserWarning, match=f"{first.id} is damaged and passed over"):
        assert Catalog(store).latest() == other


def test_a_manifest_in_the_folder_of_another_is_damage() -> None:
    store = MemoryStore()
    put(store, manifest_path(id_of(9)), encode_manifest(manifest(8)))
    (damaged,) = Catalog(store).entries()
    assert isinstance(damaged, Damaged)
    assert damaged.reason.endswith(f"is the manifest of snapshot {id_of(8)}, not of {id_of(9)}")


def test_one_of_a_newer_version_is_named_and_not_taken() -> None:
    store = MemoryStore()
    first = take(store, 1)
    put(store, manifest_path(id_of(2)), b'{"format": 2}')
    damaged, _ = Catalog(store).entries()
    assert isinstance(damaged, Damaged)
    assert "has format 2, this mini_flink reads up to 1" in damaged.reason
    assert Catalog(store).latest() == first


def test_an_unknown_id_says_which_are_near() -> None:
    store = MemoryStore()
    take(store, 12)
    with pytest.raises(SnapshotError, match="no snapshot 00c0ffee-000013 in memory:snapshots") as caught:
        Catalog(store).get(id_of(13))
    assert caught.value.help == f"did you mean {id_of(12)}?"


def test_a_store_that_cannot_be_read_is_no_empty_one() -> None:
    store = MemoryStore()
    take(store, 1)
    take(store, 2)
    store.fail_next("read", "error")
    with pytest.raises(StorageError, match="as planned"):
        Catalog(store).latest()


@pytest.mark.parametrize("name", ["w0.state", "w0.channels", "manifest.json"])
def test_a_bit_anywhere_in_any_file_is_found_and_named(name: str) -> None:
    store = MemoryStore()
    taken = take(store, 1)
    catalog, path = Catalog(store), f"{taken.id}/{name}"
    data = store.contents[path]
    for position in range(len(data)):
        change(store, path, position)
        (entry,) = catalog.entries()
        problems = [entry.reason] if isinstance(entry, Damaged) else catalog.verify(entry)
        assert entry == taken or problems
        assert all(path in problem for problem in problems)
        assert name == "manifest.json" or problems
        put(store, path, data)
    assert catalog.verify(taken) == []


def test_verify_names_every_file_that_is_not_as_it_was() -> None:
    store = MemoryStore()
    first = take(store, 1)
    second = take(store, 2, after=first)
    change(store, f"{first.id}/w0.state", -3)
    store.remove(f"{second.id}/w0.channels")
    catalog = Catalog(store)
    assert catalog.missing(second) == [f"memory:snapshots/{second.id}/w0.channels is missing"]
    damaged, missing = catalog.verify(second)
    assert damaged.startswith(f"memory:snapshots/{first.id}/w0.state is damaged")
    assert missing.endswith("w0.channels is missing")


# --- writing the manifest -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["write", "commit"])
def test_a_manifest_for_which_there_is_no_space_is_not_there(operation: str) -> None:
    store = MemoryStore()
    taken = take(store, 1)
    store.fail_next(operation, "full")  # type: ignore[arg-type]
    with pytest.raises(StorageFullError):
        Catalog(store).write_manifest(replace(taken, id=id_of(2), epoch=2))
    assert ids(Catalog(store)) == [taken.id]
    assert store.unfinished() == []


# --- what may go --------------------------------------------------------------------------------------------


def retain(store: SnapshotStore, number: int, max_age_s: int = 0, now_ms: int = 0) -> list[str]:
    """As who has just written the newest one that is there."""
    catalog = Catalog(store)
    there = [one for one in catalog.entries() if isinstance(one, Manifest) and one.folder_id == FOLDER_ID]
    return catalog.retain(number, max_age_s, now_ms, newest=there[-1] if there else manifest(0))


def test_the_newest_are_kept_and_files_go_with_the_others(store: SnapshotStore) -> None:
    for epoch in range(1, 6):
        take(store, epoch)
    assert retain(store, 2) == [id_of(1), id_of(2), id_of(3)]
    assert ids(Catalog(store)) == [id_of(4), id_of(5)]
    assert {path.partition("/")[0] for path in store.list()} == {id_of(4), id_of(5)}
    assert retain(store, 2) == []


def test_savepoints_stay_and_do_not_count() -> None:
    store = MemoryStore()
    for epoch in range(1, 7):
        take(store, epoch, kind="savepoint" if epoch in (1, 3, 6) else "snapshot")
    assert retain(store, 1) == [id_of(2), id_of(4)]
    assert ids(Catalog(store)) == [id_of(1), id_of(3), id_of(5), id_of(6)]


def test_a_file_that_a_kept_chain_needs_stays(store: SnapshotStore) -> None:
    made: list[Manifest] = []
    for epoch in range(1, 7):
        made.append(take(store, epoch, after=made[-1] if epoch not in (1, 4) else None))
    assert retain(store, 1) == [id_of(epoch) for epoch in range(1, 6)]
    state = [f"{id_of(epoch)}/w0.state" for epoch in (4, 5, 6)]
    assert store.list() == sorted([*state, f"{id_of(6)}/w0.channels", f"{id_of(6)}/manifest.json"])
    catalog = Catalog(store)
    assert catalog.verify(catalog.latest()) == []


def test_a_chain_that_a_savepoint_needs_stays() -> None:
    store = MemoryStore()
    first = take(store, 1)
    saved = take(store, 2, after=first, kind="savepoint")
    take(store, 3)
    assert retain(store, 1) == [first.id]
    assert Catalog(store).verify(saved) == []
    assert f"{first.id}/w0.channels" not in store.list()


def test_old_ones_go_but_for_the_newest() -> None:
    store = MemoryStore()
    for epoch in range(1, 6):
        take(store, epoch)
    now_ms = 6 * MINUTE_MS
    assert retain(store, 4, max_age_s=125, now_ms=now_ms) == [id_of(1), id_of(2), id_of(3)]
    assert retain(store, 4, max_age_s=1, now_ms=now_ms * 100) == [id_of(4)]
    assert ids(Catalog(store)) == [id_of(5)]


def test_the_newest_whole_one_stays_whatever_came_after_it() -> None:
    store = MemoryStore()
    for epoch in range(1, 6):
        take(store, epoch)
    for epoch in (3, 4, 5):
        store.remove(f"{id_of(epoch)}/w0.channels")
    assert retain(store, 1) == [id_of(1), id_of(3), id_of(4)]
    assert Catalog(store).latest().id == id_of(2)


def test_other_folders_in_the_same_place_are_left_alone() -> None:
    store = MemoryStore()
    for epoch in (1, 2, 3):
        take(store, epoch)
        take(store, epoch, folder_id=OTHER_FOLDER)
    put(store, f"{snapshot_id(OTHER_FOLDER, 1)}/w1.state", b"being written")
    retain(store, 1)
    left = [
        epoch
        for epoch in (1, 2, 3)
        for _ in range(2)
        if snapshot_id(OTHER_FOLDER, epoch) in ids(Catalog(store))
    ]
    assert left == [1, 1, 2, 2, 3, 3]
    assert f"{snapshot_id(OTHER_FOLDER, 1)}/w1.state" in store.list()


def test_unfinished_ones_go_once_a_newer_one_is_there() -> None:
    store = MemoryStore()
    put(store, f"{id_of(1)}/w0.state", b"abandoned")
    store.write(f"{id_of(1)}/w1.state").write(b"cut off")
    assert retain(store, 1) == []
    assert len(store.list() + store.unfinished()) == 2
    take(store, 2)
    put(store, f"{id_of(3)}/w0.state", b"under way")
    writing = store.write(f"{id_of(3)}/w1.state")
    retain(store, 1)
    assert {path.partition("/")[0] for path in store.list()} == {id_of(2), id_of(3)}
    assert store.unfinished() == [f"{id_of(3)}/w1.state.unfinished"]
    writing.commit()


def test_what_a_copy_of_the_folder_writes_is_left_alone() -> None:
    store = MemoryStore()
    made = {epoch: take(store, epoch) for epoch in (1, 2, 3, 7)}
    put(store, f"{id_of(5)}/w0.state", b"being written")
    assert Catalog(store).retain(1, 0, 0, newest=made[3]) == [id_of(1), id_of(2)]
    assert ids(Catalog(store)) == [id_of(3), id_of(7)]
    assert f"{id_of(5)}/w0.state" in store.list()


def test_a_copy_of_the_folder_that_writes_here_too_is_found(store: SnapshotStore) -> None:
    catalog = Catalog(store)
    take(store, 9, folder_id=OTHER_FOLDER)
    take(store, 2)
    put(store, f"{id_of(3)}/w0.state", b"of the copy")
    for id, worker in [(id_of(3), ""), (id_of(3), "w1"), (id_of(4), "w0")]:
        catalog.check_alone(id, worker)
    for id, worker in [(id_of(1), ""), (id_of(2), ""), (id_of(2), "w5"), (id_of(3), "w0")]:
        with pytest.raises(
            SnapshotError, match=f"another copy of this data folder writes to {store.location}"
        ):
            catalog.check_alone(id, worker)


def test_files_of_the_folder_store_go_with_their_folders(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for epoch in (1, 2, 3):
        take(store, epoch)
    store.write(f"{id_of(2)}/w1.state").write(b"cut off")
    retain(store, 1)
    assert [path.name for path in tmp_path.iterdir()] == [id_of(3)]


def test_what_one_needs_that_cannot_be_read_stays() -> None:
    store = MemoryStore()
    first = take(store, 1)
    take(store, 2, after=first)
    change(store, manifest_path(id_of(2)), 40)
    for epoch in (3, 4, 5):
        take(store, epoch)
    assert retain(store, 1) == [id_of(1), id_of(3), id_of(4)]
    assert {f"{id_of(1)}/w0.state", f"{id_of(2)}/w0.state"} <= set(store.list())
    assert f"{id_of(3)}/w0.state" not in store.list()


def test_a_removal_that_was_cut_off_is_finished_by_the_next() -> None:
    store = MemoryStore()
    for epoch in (1, 2):
        take(store, epoch)
    store.fail_next("remove", "error")
    with pytest.raises(StorageError):
        retain(store, 1)
    assert ids(Catalog(store)) == [id_of(1), id_of(2)]
    store.remove(manifest_path(id_of(1)))
    retain(store, 1)
    assert {path.partition("/")[0] for path in store.list()} == {id_of(2)}


# --- finding one by what a person writes --------------------------------------------------------------------


@pytest.mark.parametrize("absolute", [True, False])
def test_what_names_a_snapshot(tmp_path: Path, absolute: bool) -> None:
    store = FileStore(tmp_path / "data" / "snapshots")
    first, second = take(store, 1), take(store, 2)
    directory = str(tmp_path)
    place = str(tmp_path / "data" / "snapshots") if absolute else "data/snapshots"
    for text, expected in [
        ("latest", second),
        (first.id, first),
        (place, second),
        (f"{place}/", second),
        (f"{place}/{first.id}", first),
        (f"{place}/{first.id}/manifest.json", first),
    ]:
        found_in, found = find(text, directory, place)
        assert (found_in.location, found) == (store.location, expected)


def test_what_names_a_snapshot_on_s3(s3_url: str) -> None:
    from mini_flink.snapshots.remote import RemoteStore

    store = RemoteStore(s3_url)
    first, second = take(store, 1), take(store, 2)
    for text, expected in [
        (s3_url, second),
        (f"{s3_url}/{first.id}", first),
        ("latest", second),
        (first.id, first),
    ]:
        found_in, found = find(text, "/", s3_url)
        assert (found_in.location, found) == (s3_url, expected)


def test_what_names_none(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "data" / "snapshots")
    taken = take(store, 1)
    with pytest.raises(SnapshotError, match="nowhere is neither a snapshot nor a folder that holds some"):
        find("nowhere", str(tmp_path), "data/snapshots")
    with pytest.raises(SnapshotError, match="data is neither") as caught:
        find("data", str(tmp_path), "data/snapshots")
    assert caught.value.help == f"did you mean {tmp_path}/data/snapshots?"
    with pytest.raises(SnapshotError, match="no snapshot 00c0ffee-000009"):
        find(id_of(9), str(tmp_path), "data/snapshots")
    with pytest.raises(SnapshotError, match="no whole snapshot in"):
        find("latest", str(tmp_path), "elsewhere")
    store.remove(manifest_path(taken.id))
    with pytest.raises(SnapshotError, match="was never finished"):
        find(f"data/snapshots/{taken.id}", str(tmp_path), "data/snapshots")


def test_one_that_is_not_whole_is_refused_by_name(tmp_path: Path) -> None:
    taken = take(FileStore(tmp_path), 1)
    FileStore(tmp_path).remove(f"{taken.id}/w0.state")
    with pytest.raises(
        CorruptionError, match=f"{taken.id} is not whole: {tmp_path}/{taken.id}/w0.state is missing"
    ):
        find(taken.id, "/", str(tmp_path))
    catalog, id = locate(taken.id, "/", str(tmp_path))
    assert (catalog.get(taken.id), id) == (taken, taken.id)

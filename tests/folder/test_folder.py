"""The data folder refuses by name what does not belong to it, and never forgets a number."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from mini_flink import progress
from mini_flink.errors import BusyError, CorruptionError, FolderError, MiniFlinkError
from mini_flink.folder import DataFolder, Start, default_folder, read_job, read_run

FILES = ("job.json", "incarnations.json", "lock")
START = Start(job="orders", max_parallelism=128, durability="disk", default_workers=2)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "orders")


def run_once(path: str, start: Start = START, *, clean: bool = False, ready: bool = True) -> None:
    folder = DataFolder.open(path, start)
    folder.number_operators(["a", "b"])
    folder.begin_run(start.durability, ["plan"])
    if ready:
        folder.mark_ready(start.durability)
    if clean:
        folder.mark_clean()
    folder.close()


def refusal(path: str, start: Start) -> MiniFlinkError:
    with pytest.raises(MiniFlinkError) as refused:
        DataFolder.open(path, start)
    assert refused.value.help
    return refused.value


def test_a_new_folder_is_private_and_names_its_format(path: str) -> None:
    run_once(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    formats = [json.loads(Path(path, name).read_text())["format"] for name in FILES]
    assert formats == [2, 2, 1]


def test_nothing_is_recorded_before_a_run_begins(path: str) -> None:
    DataFolder.open(path, START).close()
    assert os.listdir(path) == ["lock"]
    assert DataFolder.open(path, replace(START, job="other", workers=7)).is_new


def test_a_folder_keeps_its_number_of_workers_until_its_state_has_moved(path: str) -> None:
    run_once(path, replace(START, workers=3))
    for start in (replace(START, default_workers=8), replace(START, workers=4)):
        folder = DataFolder.open(path, start)
        assert (folder.record.workers, folder.is_new, folder.holds_state) == (3, False, True)
        folder.close()


def test_another_jobs_folder_is_refused(path: str) -> None:
    run_once(path)
    error = refusal(path, replace(START, job="refunds"))
    assert "belongs to job 'orders', not to 'refunds'" in error.message
    assert error.exit_code == 78


def test_another_max_parallelism_is_refused(path: str) -> None:
    run_once(path)
    assert (
        "max_parallelism 128; the job now says 64"
        in refusal(path, replace(START, max_parallelism=64)).message
    )


def test_a_second_start_is_refused_with_the_process_that_has_it(path: str) -> None:
    folder = DataFolder.open(path, START)
    with pytest.raises(BusyError, match=rf"in use by .*\(pid {os.getpid()}\)") as refused:
        DataFolder.open(path, START)
    assert refused.value.exit_code == 75
    folder.close()
    DataFolder.open(path, START).close()


def test_a_newer_format_is_refused(path: str) -> None:
    run_once(path)
    file = Path(path, "job.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 3}))
    error = refusal(path, START)
    assert "has format 3; this version reads up to 2" in error.message
    assert error.exit_code == 78


@pytest.mark.parametrize("content", ["", "{", "[]", '{"job": "orders"}', '{"format": 1, "unknown": 2}'])
def test_a_damaged_file_is_refused_not_replaced(path: str, content: str) -> None:
    run_once(path)
    Path(path, "job.json").write_text(content)
    with pytest.raises(CorruptionError, match=r"job\.json is damaged"):
        DataFolder.open(path, START)
    assert Path(path, "job.json").read_text() == content


def test_a_folder_with_other_files_is_refused(path: str) -> None:
    os.makedirs(path)
    Path(path, "thesis.txt").touch()
    assert "thesis.txt" in refusal(path, START).message


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refusal(str(tmp_path / "file" / "state"), START)
    assert "cannot be made: " in error.message
    assert error.exit_code == 78


def test_operator_numbers_are_never_reused(path: str) -> None:
    run_once(path)
    folder = DataFolder.open(path, START)
    assert folder.number_operators(["c", "b"]) == {"c": 3, "b": 2}
    folder.begin_run("disk", [])
    folder.close()
    folder = DataFolder.open(path, START)
    assert folder.number_operators(["d", "a", "c"]) == {"d": 4, "a": 1, "c": 3}
    folder.close()


def test_the_folder_id_stays_and_differs_between_folders(path: str) -> None:
    run_once(path)
    first = DataFolder.open(path, START)
    second = DataFolder.open(path + "2", START)
    again = first.record.folder_id
    first.close()
    assert DataFolder.open(path, START).record.folder_id == again != second.record.folder_id


def test_incarnations_only_rise(path: str) -> None:
    run_once(path)
    folder = DataFolder.open(path, START)
    assert folder.raise_incarnations(["w0", "w1"]) == {"w0": 1, "w1": 1}
    assert folder.raise_incarnations(["w0"]) == {"w0": 2}
    folder.close()
    folder = DataFolder.open(path, START)
    assert folder.raise_incarnations(["w0", "w1", "g0"]) == {"w0": 3, "w1": 2, "g0": 1}


def test_lost_incarnations_are_refused(path: str) -> None:
    run_once(path)
    os.unlink(os.path.join(path, "incarnations.json"))
    with pytest.raises(CorruptionError, match=r"incarnations\.json is missing"):
        DataFolder.open(path, START)


def other_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "boot_id", lambda: b"another boot id.")


PROCESS = replace(START, durability="process")


def is_inconsistent(path: str, start: Start) -> bool:
    folder = DataFolder.open(path, start)
    folder.close()
    return folder.is_inconsistent


def test_process_durability_after_an_unclean_boot_is_inconsistent(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(path, PROCESS)
    assert not is_inconsistent(path, PROCESS)
    other_boot(monkeypatch)
    assert [is_inconsistent(path, start) for start in (PROCESS, START)] == [True, True]


@pytest.mark.parametrize(("start", "clean"), [(START, False), (PROCESS, True)])
def test_other_boots_are_no_trouble(
    path: str, start: Start, clean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(path, start, clean=clean)
    other_boot(monkeypatch)
    assert not is_inconsistent(path, PROCESS)


def test_disk_counts_only_once_every_worker_has_synced_what_process_left(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(path, PROCESS)
    run_once(path, START, ready=False)
    with monkeypatch.context() as boot:
        other_boot(boot)
        assert is_inconsistent(path, START)
    run_once(path, START)
    other_boot(monkeypatch)
    assert not is_inconsistent(path, START)


def test_where_the_supervisor_is_found(path: str) -> None:
    assert read_run(path) is None
    folder = DataFolder.open(path, START)
    folder.write_run({"pid": 12, "port": 7071})
    assert read_run(path) == {"format": 2, "pid": 12, "port": 7071}
    folder.end_run()
    folder.end_run()
    assert read_run(path) is None


def test_the_default_folder_is_named_after_the_job() -> None:
    assert default_folder("running-total") == ".mini_flink/running-total"
    assert default_folder("../a/b") == ".mini_flink/_a_b"
    assert default_folder("..") == ".mini_flink/job"


def test_a_first_start_that_was_refused_binds_the_folder_to_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    first = DataFolder.open(path, Start("one", 64, "process", workers=1))
    numbers = first.number_operators(["total"])
    first.begin_run("process", [])
    first.raise_incarnations(["w0"])
    (Path(first.process_folder("w0")) / "left").touch()
    first.mark_refused()
    first.close()
    second = DataFolder.open(path, Start("other", 128, "disk", workers=2))
    assert (second.record.job, second.record.workers, second.record.max_parallelism) == ("other", 2, 128)
    assert second.record.folder_id == first.record.folder_id
    assert second.number_operators(["new", "total"]) == {"new": 2, **numbers}
    assert second.raise_incarnations(["w0"]) == {"w0": 2}
    assert not (tmp_path / "data" / "w0" / "left").exists()
    second.begin_run("disk", [])
    second.close()
    with pytest.raises(FolderError, match="belongs to job 'other'"):
        DataFolder.open(path, Start("one", 64, "process", workers=1))


def test_a_refused_start_on_a_folder_that_served_unbinds_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    for _ in range(2):
        folder = DataFolder.open(path, Start("one", 128, "disk", workers=1))
        folder.begin_run("disk", [])
        folder.mark_ready("disk")
        folder.close()
    folder = DataFolder.open(path, Start("one", 128, "disk", workers=1))
    folder.begin_run("disk", [])
    folder.mark_refused()
    folder.close()
    with pytest.raises(FolderError, match="belongs to job 'one'"):
        DataFolder.open(path, Start("other", 128, "disk", workers=2))


def test_the_folder_of_the_release_before_is_opened(path: str) -> None:
    """Format 1: workers' folders beside job.json, a record without what came with snapshots."""
    run_once(path)
    record = json.loads(Path(path, "job.json").read_text())
    for name in ("parallelisms", "epoch", "restored"):
        del record[name]
    Path(path, "job.json").write_text(json.dumps({**record, "format": 1}))
    for name in ("w0", "w1"):
        Path(path, name).mkdir()
        Path(path, name, "marker").write_text(name)
    folder = DataFolder.open(path, START)
    assert [Path(folder.process_folder(name), "marker").read_text() for name in ("w0", "w1")] == ["w0", "w1"]
    assert folder.process_folder("w0") == str(Path(path, "g1", "w0"))
    assert folder.record.epoch == 0
    folder.close()


def test_a_drafted_generation_counts_only_once_it_is_switched_to(path: str) -> None:
    run_once(path)
    folder = DataFolder.open(path, START)
    Path(folder.process_folder("w0"), "old").touch()
    generation, draft = folder.draft_generation()
    Path(draft, "half").touch()
    assert (generation, folder.record.generation) == (2, 1)
    folder.close()

    folder = DataFolder.open(path, START)
    generation, draft = folder.draft_generation()
    assert (generation, os.listdir(draft)) == (2, [])
    folder.switch(workers=3, parallelisms={"a": 2})
    folder.close()

    folder = DataFolder.open(path, START)
    assert (folder.record.generation, folder.record.workers, folder.record.parallelisms) == (2, 3, {"a": 2})
    assert folder.process_folder("w2") == str(Path(path, "g2", "w2"))
    folder.remove_older_generations()
    assert not Path(path, "g1").exists()
    folder.close()


def test_an_epoch_is_never_given_out_twice(path: str) -> None:
    run_once(path)
    epochs = []
    for _ in range(2):
        folder = DataFolder.open(path, START)
        epochs += [folder.next_epoch(), folder.next_epoch()]
        folder.close()
    assert epochs == [1, 2, 3, 4]


def test_no_bit_of_the_record_can_rot_unseen(path: str) -> None:
    run_once(path)
    file = Path(path, "job.json")
    whole = file.read_bytes()
    for place in range(0, len(whole) * 8, 11):
        rotten = bytearray(whole)
        rotten[place // 8] ^= 1 << place % 8
        file.write_bytes(rotten)
        with pytest.raises((CorruptionError, FolderError), match=r"job\.json"):
            read_job(path)


def test_what_was_restored_into_a_new_folder_is_kept_whatever_comes_of_the_start(path: str) -> None:
    folder = DataFolder.open(path, START)
    _, draft = folder.draft_generation()
    Path(draft, "half").touch()
    folder.close()

    folder = DataFolder.open(path, START)
    assert (folder.holds_state, folder.record.generation, os.path.exists(draft)) == (False, 1, False)
    folder.draft_generation()
    folder.skip_incarnations({"g0": 7, "w0": 2})
    folder.switch(restored="00c0ffee-000001", untouched=True)
    folder.mark_refused()
    folder.close()

    folder = DataFolder.open(path, START)
    assert (folder.holds_state, folder.record.generation, folder.record.untouched) == (True, 2, True)
    assert folder.raise_incarnations(["g0", "w0", "w1"]) == {"g0": 8, "w0": 3, "w1": 1}
    folder.begin_run("disk", [])
    folder.skip_incarnations({"g0": 3})
    assert (folder.raise_incarnations(["g0"]), folder.record.untouched) == ({"g0": 9}, False)
    folder.close()


def test_snapshots_alone_are_only_opened_by_a_restore(path: str) -> None:
    Path(path, "snapshots").mkdir(parents=True)
    assert "--restore latest" in refusal(path, START).help
    assert DataFolder.open(path, replace(START, restores=True)).is_new


def test_a_first_run_that_drafts_a_generation_and_is_killed_has_lost_nothing(path: str) -> None:
    folder = DataFolder.open(path, START)
    folder.begin_run("disk", [])
    state = Path(folder.process_folder("w0"), "state")
    state.touch()
    folder.mark_ready("disk")
    folder.draft_generation()
    folder.mark_refused()
    folder.close()
    folder = DataFolder.open(path, START)
    assert (folder.holds_state, folder.record.refused, state.exists()) == (True, False, True)
    folder.close()

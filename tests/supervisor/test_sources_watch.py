"""Saved files as the system shows them: replaced, touched, gone for a moment, new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mini_flink.core.reloads import QUIET_MS
from mini_flink.pinned import PinnedSources
from mini_flink.supervisor.reloader import shown
from mini_flink.supervisor.sources_watch import POLL_MS, SourcesWatch


class Job:
    """Some files, what was read of them, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = 0
        for name in ("job.py", "helper.py"):
            (folder / name).write_text(f"# {name}\n")
        self.watch = SourcesWatch(self.read(), loaded=True)

    def read(self, *names: str) -> PinnedSources:
        sources = PinnedSources()
        for name in names or ("job.py", "helper.py"):
            sources.data(name, str(self.folder / name))
        return sources

    def seen(self) -> list[str]:
        """What is due once all is quiet."""
        for _ in range(2 + QUIET_MS // POLL_MS):
            self.now_ms += POLL_MS
            if changed := self.watch.step(self.now_ms):
                return [os.path.relpath(place, self.folder) for place in changed]
        return []


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_nothing_is_due_before_its_time(job: Job) -> None:
    (job.folder / "job.py").write_text("pass\n")
    assert job.watch.step(0) == []
    assert job.watch.due_ms() == POLL_MS
    (job.folder / "job.py").write_text("pass  # again\n")
    assert job.watch.step(POLL_MS - 1) == []
    assert job.watch.due_ms() == POLL_MS, "it was not looked again"
    assert job.watch.step(POLL_MS) == []
    assert job.watch.step(POLL_MS + QUIET_MS) == [str(job.folder / "job.py")]


def test_a_file_that_is_written_again_replaced_or_moved_away(job: Job) -> None:
    file = job.folder / "job.py"
    assert job.seen() == []
    file.write_text("# 1")
    assert job.seen() == ["job.py"]
    job.watch.ended(job.read(), loaded=True)
    file.rename(job.folder / "job.py~")
    assert job.seen() == []
    (job.folder / "new").write_text("# 2")
    (job.folder / "new").rename(file)
    assert job.seen() == ["job.py"]
    job.watch.ended(job.read(), loaded=True)
    assert job.seen() == []


def test_the_same_size_and_times_hide_nothing(job: Job) -> None:
    file = job.folder / "helper.py"
    before = file.stat()
    assert job.seen() == []
    file.write_text("# HELPER.PY\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert job.seen() == ["helper.py"]


def test_a_touch_is_no_change(job: Job) -> None:
    os.utime(job.folder / "job.py")
    text = (job.folder / "helper.py").read_text()
    (job.folder / "helper.py").write_text(text)
    assert job.seen() == []


def test_new_files_count_while_the_job_does_not_load_only(job: Job) -> None:
    (job.folder / "more.py").write_text("")
    assert job.seen() == []
    (job.folder / "job.py").write_text("import missing\n")
    assert job.seen() == ["job.py"]
    job.watch.ended(job.read("job.py"), loaded=False)
    (job.folder / "notes.txt").write_text("")
    (job.folder / "__pycache__").mkdir()
    assert job.seen() == []
    (job.folder / "missing").mkdir()
    assert job.seen() == ["."]
    job.watch.ended(job.read("job.py"), loaded=False)
    (job.folder / "missing.py").write_text("")
    assert job.seen() == ["."]
    job.watch.ended(job.read("job.py"), loaded=True)
    (job.folder / "another.py").write_text("")
    assert job.seen() == []


def test_a_file_that_is_new_while_the_job_looks_for_it(job: Job) -> None:
    (job.folder / "job.py").write_text("import missing\n")
    assert job.seen() == ["job.py"]
    (job.folder / "missing.py").write_text("")  # the job did not find it: it was not there yet
    job.watch.ended(job.read("job.py"), loaded=False)
    assert job.seen() == ["."]


def test_what_nobody_knows_to_have_been_read_is_not_tried_again(job: Job) -> None:
    (job.folder / "job.py").write_text("import os; os._exit(1)\n")
    assert job.seen() == ["job.py"]
    job.watch.ended(None, loaded=False)
    assert job.seen() == []
    (job.folder / "job.py").write_text("pass\n")
    assert job.seen() == ["job.py"]


def test_how_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path)
    assert shown(["job.py", str(tmp_path), str(tmp_path / "shop")]) == "job.py, ./, shop/"
    assert shown([f"{name}.py" for name in "abcde"]) == "a.py, b.py, c.py and 2 more"

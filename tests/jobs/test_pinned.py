"""What was loaded once is what runs in every process, whatever becomes of the files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mini_flink.errors import MiniFlinkError
from mini_flink.pinned import PinnedSources

ROOT = Path(__file__).parents[2]

LOAD = """
import sys
from mini_flink.failures import render_error
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.pinned import PinnedSources
from mini_flink.source import picture, users_frames
place, target = sys.argv[1:]
if place.endswith(".g1"):
    sources = PinnedSources.read(place)
    load_graph(JobTarget.parse(target), quiet=False, sources=sources)
else:
    sources = PinnedSources()
    load_graph(JobTarget.parse(target), quiet=False, sources=sources)
    print("written", sources.write(place, 1))
try:
    sys.modules["__main__"].fail()
except ZeroDivisionError as error:
    for frame in users_frames(error.__traceback__):
        print(*picture(frame), sep="\\n")
    import traceback
    traceback.print_exception(error, file=sys.stdout)
"""

JOB = """
import {helper} as helper
from mini_flink.datastream import StreamExecutionEnvironment
print("job", "{version}", "helper", helper.VERSION, helper.__file__)
def fail():
    helper.fail()  # job {version}
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/x").map(lambda value: value).reply()
env.execute("shop")
"""

HELPER = """
VERSION = "{version}"
def fail():
    1 / 0  # helper {version}
"""


def write(folder: Path, version: str, helper: str = "helper", job: str = "job.py") -> None:
    """Both files, in a version whose files have the sizes and the times of every other version."""
    sources = {job: JOB, helper.replace(".", "/") + ".py": HELPER}
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{version}", version).replace("{helper}", helper))
        os.utime(path, (1_700_000_000, 1_700_000_000))


def load(folder: Path, place: Path, target: str = "job.py") -> str:
    """Load it in a process of its own; what was said."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(place), target],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The runtime folder."""
    path = tmp_path / "runtime"
    path.mkdir()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the job is."""
    path = tmp_path / "user"
    path.mkdir()
    return path


def test_files_that_were_edited(folder: Path, place: Path) -> None:
    write(folder, "1")
    first = load(folder, place)
    pins = place / "sources.g1"
    assert f"job 1 helper 1 {folder}/helper.py" in first
    assert stat.S_IMODE(pins.stat().st_mode) == 0o600
    write(folder, "2")
    pinned = load(folder, pins)
    assert f"job 1 helper 1 {folder}/helper.py" in pinned
    assert "--> job.py:6:5 in fail" in pinned
    assert "--> helper.py:4:5 in fail" in pinned
    assert pinned.count("# job 1") == pinned.count("# helper 1") == 2, "both kinds of picture"
    assert "# job 2" not in pinned
    again = load(folder, place)
    assert "job 2 helper 2" in again, "a cached helper of the same size and time is not taken"
    assert again.count("# helper 2") == 2


@pytest.mark.parametrize(
    ("target", "job", "helper"),
    [
        ("job.py", "job.py", "helper"),
        ("shop/job.py", "shop/job.py", "helper"),
        ("shop.job", "shop/job.py", "shop.parts.helper"),
        ("shop.main", "shop/main/__main__.py", "shop.parts.helper"),
        ("job.py", "job.py", "parts.helper"),
    ],
)
@pytest.mark.parametrize("package", [True, False])
def test_files_that_are_gone(
    folder: Path, place: Path, target: str, job: str, helper: str, package: bool
) -> None:
    beside = folder if "." in helper else (folder / job).parent
    write(folder, "1", helper, job)
    if beside != folder:
        shutil.move(folder / "helper.py", beside / "helper.py")
    for inner in {path.parent for path in folder.rglob("*.py")} - {folder} if package else ():
        (inner / "__init__.py").touch()
    first = load(folder, place, target)
    shutil.rmtree(folder)
    folder.mkdir()
    pinned = load(folder, place / "sources.g1", target)
    assert pinned == first.replace(f"written {place}/sources.g1\n", "")
    assert pinned.count("# helper 1") == 2


def test_what_was_not_loaded_then_comes_from_disk(folder: Path, place: Path) -> None:
    write(folder, "1")
    load(folder, place)
    (folder / "later.py").write_text("VERSION = 'later'\n")
    (folder / "helper.py").unlink()
    found = PinnedSources.read(str(place / "sources.g1"))
    names = {name: found.find_spec(name, [str(folder)]) for name in ("helper", "later", "nowhere")}
    assert {name: spec and spec.origin for name, spec in names.items()} == {
        "helper": f"{folder}/helper.py",
        "later": f"{folder}/later.py",
        "nowhere": None,
    }


def test_only_the_users_modules_are_pinned() -> None:
    sources = PinnedSources()
    spec = sources.find_spec("json", None)
    assert spec is not None
    assert "Pinned" not in type(spec.loader).__name__
    again = sources.find_spec("mini_flink.records", [str(ROOT / "mini_flink")])
    assert again is not None
    assert "Pinned" not in type(again.loader).__name__


def test_a_file_that_is_missing_or_damaged(place: Path) -> None:
    with pytest.raises(MiniFlinkError, match="cannot be read"):
        PinnedSources.read(str(place / "sources.g1"))
    (place / "sources.g1").write_text("{")
    with pytest.raises(MiniFlinkError, match="cannot be read"):
        PinnedSources.read(str(place / "sources.g1"))

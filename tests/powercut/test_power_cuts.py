"""Power cuts at random moments of a process that uses log and table in the right order, and in wrong ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mini_flink.errors import MiniFlinkError
from tests.powercut import images, recorder
from tests.powercut.driver import changes, open_devices, state_after
from tests.powercut.images import Kind, Run
from tests.state.store import Store

pytestmark = pytest.mark.skipif(not recorder.available(), reason="needs Linux and a C compiler")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where syncs are cheap, if there is such a place: the images need none."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def traced(folder: Path, trace: Path, commits: int, mistake: str = "") -> list[images.Event]:
    folder.mkdir(exist_ok=True)
    environment = os.environ | recorder.environment(folder, trace) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.powercut.driver", str(folder), str(commits), *mistake.split()]
    subprocess.run(command, env=environment, check=True, cwd=ROOT)
    return images.load(trace)


def problem_with(image: Path, promised: int) -> str | None:
    """What is wrong with what recovery finds in ``image``; None if nothing."""
    try:
        log, table = open_devices(image)
        store = Store(log, table)
    except MiniFlinkError as error:
        return error.message
    try:
        found = log.next_number - 1
        if not promised <= found <= promised + 1:
            return f"{promised} were promised, {found} are there"
        if store.state() != state_after(found):
            return f"the state is not that after {found}"
        store.commit(changes(found + 1))
        return None
    finally:
        store.close()


def promised(*runs: Run) -> int:
    numbers = [int(mark) for run in runs for mark in images.marks(run.taken())]
    return max(numbers, default=0)


def cut_problems(runs: list[Run], seeds: range, scratch: Path) -> list[str]:
    """Cuts in the last run, at random events; the problems that recovery has with them."""
    found = []
    for seed in seeds:
        upto = images.random_image(runs, None, seed, scratch / "image")
        *killed, last = runs
        problem = problem_with(scratch / "image", promised(*killed, Run(last.events, upto)))
        if problem is not None:
            found.append(f"seed {seed} at {upto}: {problem}")
    return found


def kill_then_cut_problems(
    events: list[images.Event], kills: int, cuts: int, scratch: Path, mistake: str = ""
) -> list[str]:
    """Killed, started again under the recorder, and cut in that recovery or soon after it."""
    found = []
    for index, kill in enumerate(kill_points(events, kills)):
        first = Run(events, kill)
        images.killed_image([first], None, scratch / "killed")
        trace = scratch / f"trace{index}"
        second = Run(traced(scratch / "killed", trace, 3, mistake))
        found += cut_problems([first, second], range(index * cuts, (index + 1) * cuts), scratch)
    return found


def kill_points(events: list[images.Event], count: int) -> list[int]:
    """At random, and where LMDB has written, but not synced, the page that makes a transaction valid."""
    rng = Random(count)
    valid = [at + 1 for at, event in enumerate(events) if event.kind is Kind.SYNC_BEGIN and event.data]
    anywhere = range(len(events) + 1)
    return rng.choices(anywhere, k=count - count // 3) + rng.choices(valid, k=count // 3)


def test_power_cuts(tmp_path: Path, scratch: Path) -> None:
    events = traced(tmp_path / "folder", tmp_path / "trace", 60)
    assert promised(Run(events)) == 60
    assert cut_problems([Run(events)], range(400), scratch) == []


def test_power_cuts_in_the_recovery_after_a_kill(tmp_path: Path, scratch: Path) -> None:
    events = traced(tmp_path / "folder", tmp_path / "trace", 30)
    assert kill_then_cut_problems(events, 12, 25, scratch) == []


@pytest.mark.parametrize("mistake", ["no sync", "acknowledged before the sync"])
def test_a_mistake_in_the_commit_is_found(mistake: str, tmp_path: Path, scratch: Path) -> None:
    events = traced(tmp_path / "folder", tmp_path / "trace", 20, mistake)
    assert cut_problems([Run(events)], range(60), scratch)


@pytest.mark.parametrize("mistake", ["output before the rewrite", "table not synced in recovery"])
def test_a_mistake_in_the_recovery_is_found(mistake: str, tmp_path: Path, scratch: Path) -> None:
    events = traced(tmp_path / "folder", tmp_path / "trace", 20)
    assert kill_then_cut_problems(events, 9, 15, scratch, mistake)


def test_the_recorder_sees_all_that_the_process_did(tmp_path: Path, scratch: Path) -> None:
    """Nothing bypasses it: the image of the whole trace is the folder itself, but for LMDB's lock file."""
    events = traced(tmp_path / "folder", tmp_path / "trace", 25)
    images.killed_image([Run(events)], None, scratch / "image")
    for path in (tmp_path / "folder").rglob("*"):
        if path.is_file() and path.name not in ("lock.mdb", recorder.MARK):
            twin = scratch / "image" / path.relative_to(tmp_path / "folder")
            assert twin.read_bytes() == path.read_bytes(), path.name
    kinds = {event.kind for event in events}
    assert {Kind.WRITE, Kind.ZEROS, Kind.SYNC_END, Kind.RENAME} <= kinds

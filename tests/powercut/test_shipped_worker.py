"""Power cuts and kills of the worker process that ships, at random moments of its trace.

Everything that it had sent before the cut must hold in what the recovery finds, and what was unanswered then
is answered once: see recovered.py. The same cuts find planted mistakes: see faulty_worker.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.powercut import images, recorder
from tests.powercut.images import Kind, Run
from tests.powercut.recovered import problems
from tests.powercut.shipped import Recording, new_gateway, record, serve

pytestmark = pytest.mark.skipif(not recorder.available(), reason="needs Linux and a C compiler")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where syncs are cheap, if there is such a place; the recorder makes them slow again."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def recording(place: Path) -> Recording:
    """A worker's life, from an empty folder to its clean end."""
    return record_new(place, "w0", requests=450, clean=True)


def record_new(place: Path, name: str, requests: int, *, mistake: str = "", clean: bool = False) -> Recording:
    folder = place / name
    folder.mkdir()
    return record(place, folder, new_gateway(place), 1, requests, mistake=mistake, clean=clean)


def cut_problems(runs: Sequence[Run], last: Recording, seeds: Iterable[int], place: Path) -> Iterator[str]:
    """Cuts in the last recording at random events, after ``runs``; what recovery finds wrong with them."""
    for seed in seeds:
        upto = images.random_image([*runs, last.run()], None, seed, place / "image")
        for problem in problems(place / "image", last.gateway_at(upto), len(runs) + 2):
            yield f"seed {seed} at {upto}: {problem}"


def kill_then_cut_problems(
    first: Recording, kills: int, cuts: int, place: Path, mistake: str = ""
) -> Iterator[str]:
    """Killed, started again under the recorder, killed once more, and cut somewhere in that second life."""
    for index, kill in enumerate(kill_points(first, kills)):
        folder = place / f"killed{mistake}{index}"
        images.killed_image([first.run(kill)], None, folder)
        second = record(place, folder, first.gateway_at(kill), 2, requests=12, mistake=mistake)
        seeds = range(index * cuts, (index + 1) * cuts)
        yield from cut_problems([first.run(kill)], second, seeds, place)


def kill_points(first: Recording, count: int) -> list[int]:
    """At random, where something is written and not synced, and the same for LMDB's transactions."""
    rng = Random(count)
    syncs = [(at, event) for at, event in enumerate(first.events, 1) if event.kind is Kind.SYNC_BEGIN]
    choices = (
        range(len(first.events) + 1),
        [at for at, event in syncs if not event.data],
        [at for at, event in syncs if event.data],
    )
    return [rng.choice(choices[index % len(choices)]) for index in range(count)]


def test_the_recording_has_what_is_to_be_cut(recording: Recording) -> None:
    """Many commits, whose answers leave at once; flushes meanwhile; log segments that are used again."""
    syncs = [event for event in recording.events if event.kind is Kind.SYNC_END]
    renamed = [event.data for event in recording.events if event.kind is Kind.RENAME]
    assert len(syncs) > 100
    assert len(recording.sent) > 60
    assert sum(event.kind is Kind.SYNC_BEGIN and bool(event.data) for event in recording.events) > 3
    assert any(name.startswith(b"log/segment") for name in renamed)
    waiting = [len(gateway.pending) for gateway in recording.history]
    assert sum(waiting) > 5 * len(waiting)


def test_nothing_bypasses_the_recorder(recording: Recording, place: Path) -> None:
    """The image of the whole trace is the folder itself, but for LMDB's lock file."""
    images.killed_image([recording.run()], None, place / "image")
    for path in (place / "w0").rglob("*"):
        if path.is_file() and path.name != "lock.mdb":
            assert (place / "image" / path.relative_to(place / "w0")).read_bytes() == path.read_bytes()


def test_power_cuts(recording: Recording, place: Path) -> None:
    assert list(cut_problems([], recording, range(300), place)) == []


def test_power_cuts_in_the_recovery_after_a_kill(recording: Recording, place: Path) -> None:
    assert list(kill_then_cut_problems(recording, 12, 20, place)) == []


def test_the_process_goes_on_after_a_power_cut(recording: Recording, place: Path) -> None:
    """The worker process itself on the image: what was not answered is asked again, and more."""
    for seed in range(6):
        image = place / f"image{seed}"
        upto = images.random_image([recording.run()], None, seed, image)
        gateway = serve(place, image, recording.gateway_at(upto), 2, requests=20)
        assert len(gateway.outcomes) == gateway.submitted
        assert problems(image, gateway, 3) == []


@pytest.mark.parametrize("mistake", ["no_sync", "send_before_commit"])
def test_a_mistake_in_the_commit_is_found(mistake: str, place: Path) -> None:
    faulty = record_new(place, mistake, 150, mistake=mistake)
    assert any(cut_problems([], faulty, range(200), place))


@pytest.mark.parametrize("mistake", ["no_rewrite", "no_table_sync"])
def test_a_mistake_in_the_recovery_is_found(mistake: str, recording: Recording, place: Path) -> None:
    assert any(kill_then_cut_problems(recording, 18, 30, place, mistake))

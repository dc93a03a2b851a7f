"""A collection that is another one at the next start: done elements may not change, new ones may follow."""

from __future__ import annotations

import pytest

from mini_flink import execution
from mini_flink.config import Settings
from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.errors import FolderError
from mini_flink.graph import JobGraph
from mini_flink.runners.twins import TwinJob
from mini_flink.state.memory import MemoryDisk


def run(disk: MemoryDisk | None, elements: list[int], *, turns: int = 1000) -> MemoryDisk:
    """Run a job on a disk, for so many turns, and crash; the disk."""
    graphs: list[JobGraph] = []
    with execution.executing_with(graphs.append):
        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_collection(elements).print()
        env.execute("numbers")
    job = TwinJob(graphs[0], Settings(batch_records=2), 1, print)
    [worker] = job.workers
    worker.disk = disk or worker.disk
    job.start()
    for _ in range(turns):
        if not job.turn():
            break
    worker.crash()
    return worker.disk


@pytest.mark.parametrize("changed", [[9, 2, 3, 4, 5], [2, 3, 4, 5, 6], [1, 2, 3]])
@pytest.mark.parametrize("turns", [1, 1000])
def test_changed_elements_are_refused_by_name(changed: list[int], turns: int) -> None:
    disk = run(None, [1, 2, 3, 4, 5], turns=turns)
    with pytest.raises(FolderError, match="source 'collection' have changed") as caught:
        run(disk, changed)
    assert caught.value.location is not None
    assert caught.value.location.file == __file__


def test_appended_elements_are_run(capsys: pytest.CaptureFixture[str]) -> None:
    disk = run(None, [1, 2, 3])
    disk = run(disk, [1, 2, 3])
    disk = run(disk, [1, 2, 3, 4])
    with pytest.raises(FolderError):
        run(disk, [1, 2, 3, 5])
    assert capsys.readouterr().out.split() == ["1", "2", "3", "4"]


def test_as_long_as_nothing_is_done_all_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    disk = run(None, [1, 2], turns=0)
    run(disk, [3])
    assert capsys.readouterr().out.split() == ["3"]

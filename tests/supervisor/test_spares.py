"""Workers' processes that are started before anybody is to be them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mini_flink.jobs import JobTarget
from mini_flink.supervisor.members import Origin, Spare

JOB = """
from mini_flink.datastream import StreamExecutionEnvironment

open("loaded", "a").write("once\\n")
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").map(lambda value: value).reply()
env.execute("spare")
"""


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Spare]:
    (tmp_path / "job.py").write_text(JOB)
    root = str(Path(__file__).parents[2])
    task = {
        "job": JobTarget.parse("job.py", directory=str(tmp_path)).as_dict(),
        "label": "worker 0",
        "log": "text",
        "job_name": "spare",
        "console_lock": str(tmp_path / "lock"),
    }
    alive_fd, writer = os.pipe()
    origin = Origin(str(tmp_path), {**os.environ, "PYTHONPATH": root})
    yield Spare("mini_flink.worker", task, alive_fd, origin)
    os.close(alive_fd)
    os.close(writer)


def test_it_loads_the_job_and_then_is_who_it_is_told(spare: Spare, tmp_path: Path) -> None:
    (tmp_path / "w0.7.json").write_text('{"format": 1}')
    child = spare.become(str(tmp_path / "w0.7.json"))
    assert child is not None
    assert child.wait(30) == 1  # that is no specification; without a word it would have been 0
    assert (tmp_path / "loaded").read_text() == "once\n"


def test_one_that_has_died_is_nobody(spare: Spare) -> None:
    (child,) = psutil.Process().children()
    child.kill()
    child.wait()
    assert spare.become("w0.7.json") is None


def test_one_that_is_not_needed_is_gone(spare: Spare) -> None:
    (child,) = psutil.Process().children()
    spare.end()
    assert not child.is_running()


def test_it_ends_with_the_supervisor(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    task = (
        '{"job": {"target": "gone.py", "is_module": false, "args": [], "directory": "/"}, '
        '"log": "text", "job_name": "", '
        f'"label": "worker 0", "console_lock": "{tmp_path}/lock", "descriptor": {reader}}}'
    )
    words = [sys.executable, "-m", "mini_flink.worker", "--spare", task]
    with subprocess.Popen(words, pass_fds=[reader]) as child:
        os.close(reader)
        os.close(writer)
        assert child.wait(30) == 0

"""Crash points cost nothing when unused, and kill where and as often as they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mini_flink import faults

SCRIPT = """
from mini_flink import faults
faults.enable("w0")
for index in range(5):
    print(index, flush=True)
    faults.crash_point("after_log_write")
    faults.crash_point("before_send")
"""


def run(**variables: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **variables}, capture_output=True, text=True
    )
    return done.returncode, done.stdout.split()


def test_nothing_happens_without_the_variable() -> None:
    assert run() == (0, ["0", "1", "2", "3", "4"])
    if faults.POINTS_VARIABLE not in os.environ:
        assert faults.crash_point.__name__ == "_nothing"


@pytest.mark.parametrize(
    ("plan", "printed"),
    [
        ("after_log_write", 1),
        ("after_log_write:3", 3),
        ("w0@after_log_write:2", 2),
        ("w1@after_log_write,before_send:4", 4),
    ],
)
def test_the_process_is_killed_at_the_named_passage(plan: str, printed: int) -> None:
    code, lines = run(MINI_FLINK_CRASH=plan)
    assert (code, len(lines)) == (-signal.SIGKILL, printed)


def test_other_processes_and_points_pass() -> None:
    assert run(MINI_FLINK_CRASH="w1@after_log_write,mid_flush,before_send:6")[0] == 0


def test_a_point_kills_once_when_told_so(tmp_path: Path) -> None:
    variables = {
        "MINI_FLINK_CRASH": "after_log_write:2,before_send:4",
        "MINI_FLINK_CRASH_ONCE_DIR": str(tmp_path),
    }
    assert len(run(**variables)[1]) == 2
    assert len(run(**variables)[1]) == 4
    assert run(**variables)[0] == 0


def test_a_point_that_kills_at_any_passage_is_armed_by_removing_its_file(tmp_path: Path) -> None:
    variables = {"MINI_FLINK_CRASH": "w0@before_send:*", "MINI_FLINK_CRASH_ONCE_DIR": str(tmp_path)}
    fired = tmp_path / f"w0-before_send-{faults.ANY}"
    fired.touch()
    assert run(**variables)[0] == 0
    fired.unlink()
    assert len(run(**variables)[1]) == 1
    assert fired.exists()

"""Jobs as type checkers see them: what is right passes, each mistake is found on its line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parent / "typed"
ROOT = Path(__file__).parents[2]


def wrong_lines(job: str) -> set[int]:
    lines = (JOBS / job).read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if "# WRONG" in line}


def mypy_errors(job: str, folder: Path, *options: str) -> tuple[set[int], str]:
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", *options]
    run = subprocess.run(
        [*command, f"--cache-dir={folder}", str(JOBS / job)],
        capture_output=True, text=True, cwd=JOBS, env={**os.environ, "MYPYPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return {int(line) for line in re.findall(r"_job\.py:(\d+): error:", run.stdout)}, run.stdout


@pytest.mark.parametrize("job", ["good_job.py", "bad_job.py"])
def test_mypy_strict(job, tmp_path):
    lines, said = mypy_errors(job, tmp_path, "--strict")
    assert lines == wrong_lines(job), said


def test_mypy_has_nothing_against_a_job_without_annotations(tmp_path):
    lines, said = mypy_errors("plain_job.py", tmp_path, "--check-untyped-defs")
    assert lines == set(), said


def test_basedpyright(tmp_path):
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": [str(JOBS)],
                "extraPaths": [str(ROOT)],
                "typeCheckingMode": "standard",
                "pythonVersion": "3.11",
            }
        )
    )
    run = subprocess.run(
        [sys.executable, "-m", "basedpyright", "-p", str(config), "--outputjson"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads(run.stdout)["generalDiagnostics"]
    for job in ("good_job.py", "bad_job.py", "plain_job.py"):
        lines = {item["range"]["start"]["line"] + 1 for item in found if item["file"].endswith(job)}
        assert lines == wrong_lines(job), found

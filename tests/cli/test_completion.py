"""``completion``: the script is sourced by a real bash, and asked for what it would complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import environment, refused, run

ASK = """
set -eu
eval "$(mini-flink completion bash)"
COMP_WORDS=({words}) COMP_CWORD={last} COMPREPLY=()
_mini_flink_completion mini-flink
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def bash(tmp_path: Path) -> str:
    """A path on which ``mini-flink`` is found, whether it is installed here or not."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    script = tmp_path / "mini-flink"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m mini_flink "$@"\n')
    script.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("mini-flink stat", {"state", "status"}),
        ("mini-flink snapshot v", {"verify"}),
        ("mini-flink serve --snapshot-i", {"--snapshot-interval-s"}),
        ("mini-flink serve --durability d", {"disk"}),
        ("mini-flink graph --format s", {"svg"}),
        ("mini-flink config --markd", {""}),
        ("mini-flink nonsense x", {""}),
    ],
)
def test_bash_completes(bash: str, words: str, completed: set[str]) -> None:
    ask = ASK.format(words=words, last=len(words.split()) - 1)
    done = subprocess.run(
        ["bash", "-c", ask], env=environment(PATH=bash), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.splitlines()) == completed


def test_jobs_are_completed_as_files() -> None:
    asked = environment(
        _MINI_FLINK_COMPLETE="bash_complete", COMP_WORDS="mini-flink\ncheck\njo", COMP_CWORD="2"
    )
    command = [sys.executable, "-m", "mini_flink"]
    done = subprocess.run(command, env=asked, capture_output=True, text=True, timeout=30)
    assert done.stdout == "file,jo\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells(shell: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_MINI_FLINK_COMPLETE={shell}_complete" in done.stdout
    assert "mini-flink" in done.stdout


def test_another_shell_is_refused(tmp_path: Path) -> None:
    assert "'tcsh' is not one of" in refused(run("completion", "tcsh", cwd=tmp_path), 2)[0]

"""Jobs are written, tested and tried on any system; only ``serve`` needs Linux, and says so elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLATFORMS = ("darwin", "win32")
JOB = (ROOT / "mini_flink" / "examples" / "running_total.py").read_text()

USE_HARNESS = """
from mini_flink.testing import JobHarness

for job in ("mini_flink.examples.running_total", {file!r}):
    with JobHarness(job, workers=2) as harness:
        assert harness.post("/total", {{"key": "a", "amount": 3}}).json() == {{"key": "a", "total": 3}}
        harness.crash()
        assert harness.post("/total", {{"key": "a", "amount": 4}}).json() == {{"key": "a", "total": 7}}
        assert harness.post("/total", {{"key": "a"}}).status == 500
print("all is well")
"""


def command(platform: str, code: str) -> list[str]:
    return [sys.executable, "-m", "tests.portability.blocked", platform, code]


def elsewhere(platform: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(platform, code), cwd=ROOT, capture_output=True, text=True, timeout=60)


def cli(platform: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    return elsewhere(platform, f"import sys; from mini_flink.cli import main; sys.exit(main({words!r}))")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "module",
    [
        "",
        ".datastream",
        ".datastream.state",
        ".common",
        ".state_processor",
        ".testing",
        ".runners.local",
        ".cli",
        ".__main__",
    ],
)
def test_it_can_be_imported(platform: str, module: str) -> None:
    done = elsewhere(platform, f"import mini_flink{module}")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_block_blocks() -> None:
    for module in ("mini_flink.state.lmdb", "mini_flink.transport.zmq", "mini_flink.locks"):
        assert "ModuleNotFoundError" in elsewhere("darwin", f"import {module}").stderr


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_job_can_be_tested(platform: str, tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text(JOB)
    done = elsewhere(platform, USE_HARNESS.format(file=str(file)))
    assert (done.stdout, done.stderr) == ("all is well\n", "")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_job_serves_in_one_process(platform: str) -> None:
    code = "import runpy; runpy.run_module('mini_flink.examples.running_total', run_name='__main__')"
    process = subprocess.Popen(
        command(platform, code),
        cwd=ROOT,
        env={**os.environ, "MINI_FLINK_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("running-total: http://127.0.0.1:"), first
        url = first.split()[1]
        request = urllib.request.Request(f"{url}/total", data=b'{"key": "a", "amount": 3}', method="POST")
        with contextlib.closing(urllib.request.urlopen(request, timeout=10)) as reply:
            assert reply.read() == b'{"key":"a","total":3}'
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=10)
        assert process.returncode == 0
        assert rest.splitlines()[-1] == "Stopped; the state is gone."
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_serve_says_that_it_needs_linux(platform: str) -> None:
    done = elsewhere(
        platform, "import sys; from mini_flink.cli import main; sys.exit(main(['serve', 'job.py']))"
    )
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f"error: serve needs Linux, this is {platform}",
        "  = help: to try the job in one process, without durable state: python job.py",
    ]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["serve", "--help"]])
def test_help_is_given_anywhere(words: list[str]) -> None:
    done = cli("win32", words)
    assert (done.returncode, done.stderr) == (0, "")

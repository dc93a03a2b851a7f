"""``python job.py``: a job in one process, served until Ctrl-C, or run to its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CURL = shutil.which("curl")
TOTAL = "mini_flink.examples.running_total"

needs_curl = pytest.mark.skipif(CURL is None, reason="needs curl")

COLLECTION = """
from mini_flink.datastream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
(env.from_collection([("tea", 2), ("milk", 1), ("tea", 3)])
    .map(lambda item: (item[0], item[1] * 10))
    .key_by(lambda item: item[0])
    .reduce(lambda one, other: (one[0], one[1] + other[1]))
    .print())
env.execute("amounts")
print("the end")
"""

ECHO = """
from mini_flink.datastream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/echo").reply()
env.execute("echo")
"""

FAILING = """
from mini_flink.datastream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_collection([1, 0, 2]).map(lambda number: 10 // number).print()
env.execute("division")
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MINI_FLINK_PORT": "0", **more}


class Running:
    """A job in one process; what it says on stderr is in ``said``."""

    def __init__(self, job: str, cwd: Path, log: Path, variables: dict[str, str]) -> None:
        self._log = log
        command = [sys.executable, *([job] if job.endswith(".py") else ["-m", job])]
        with log.open("wb") as said:
            self.process = subprocess.Popen(command, cwd=cwd, env=environment(**variables), stderr=said)

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        give_up = time.monotonic() + 20
        while " in this one process." not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < give_up, self.said
            time.sleep(0.02)
        return self.said.split()[1]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


@contextmanager
def running(job: str, cwd: Path, **variables: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        started = Running(job, cwd, Path(folder, "said"), variables)
        try:
            yield started
        finally:
            started.process.kill()
            started.process.wait()


def curl(*arguments: str) -> str:
    assert CURL is not None
    return subprocess.run([CURL, "-s", "--max-time", "10", *arguments], capture_output=True, text=True).stdout


@needs_curl
def test_it_serves_says_that_nothing_is_durable_and_stops(tmp_path: Path) -> None:
    with running(TOTAL, tmp_path) as job:
        for expected in (3, 6):
            reply = curl(f"{job.url}/total", "-X", "POST", "-d", '{"key":"k17","amount":3}')
            assert reply == f'{{"key":"k17","total":{expected}}}'
        assert '"status":404' in curl(f"{job.url}/nowhere")
        assert job.interrupt() == 0
        assert "Nothing is durable" in job.said
        assert f"Try curl {job.url}/total" in job.said
        assert "Serves POST /total." in job.said
        assert f"python -m mini_flink serve {TOTAL}\n" in job.said
        assert job.said.splitlines()[-1] == "Stopped; the state is gone."
    assert list(tmp_path.iterdir()) == [], "nothing is left on disk"


@needs_curl
def test_who_waits_too_long_hears_that(tmp_path: Path) -> None:
    with running("tests.testing.jobs", tmp_path) as job:
        assert '"code":"timeout"' in curl(f"{job.url}/nap", "-d", '{"seconds":0.2}')
        assert curl(f"{job.url}/nap", "-d", '{"seconds":0}') == "0"


@needs_curl
def test_a_job_file_is_named_for_serve(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    with running("echo.py", tmp_path) as job:
        assert curl(f"{job.url}/echo", "-d", '{"a":1}') == '{"a":1}'
        assert "python -m mini_flink serve echo.py\n" in job.said


@needs_curl
def test_what_a_failure_shows_to_clients_is_for_serve_only(tmp_path: Path) -> None:
    with running(TOTAL, tmp_path, MINI_FLINK_DEV="true") as job:
        answer = curl(f"{job.url}/total", "-d", '{"key":"k17"}')
        assert '"code":"record-failed"' in answer
        assert "amount" not in answer


@needs_curl
def test_a_failing_record_is_told_with_the_users_line(tmp_path: Path) -> None:
    with running(TOTAL, tmp_path) as job:
        assert '"code":"record-failed"' in curl(f"{job.url}/total", "-d", '{"key":"k17"}')
        assert job.interrupt() == 0
        assert "KeyError: 'amount' in operator total" in job.said
        assert "running_total.py:" in job.said
        assert "^^^" in job.said


@needs_curl
def test_several_workers_in_the_one_process(tmp_path: Path) -> None:
    payment = (
        '{"application":"app","timestamp":1700000000000,"event_type":"transaction",'
        '"pay_account":"ann","rcv_account":"bob","amount":10}'
    )
    with running("mini_flink.examples.risk_engine", tmp_path, MINI_FLINK_WORKERS="3") as job:
        reply = curl(f"{job.url}/event", "-X", "POST", "-d", payment)
    assert '"count(pay_account.history,1h)":1.0' in reply
    assert '"isAnomaly":false' in reply


def run_to_its_end(folder: Path, job: str) -> subprocess.CompletedProcess[str]:
    (folder / "job.py").write_text(job)
    command = [sys.executable, "job.py"]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=20)


def test_a_job_without_requests_runs_to_its_end(tmp_path: Path) -> None:
    done = run_to_its_end(tmp_path, COLLECTION)
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    assert last == "the end"
    assert sorted(printed) == ["('milk', 10)", "('tea', 20)", "('tea', 50)"]
    assert [path.name for path in tmp_path.iterdir()] == ["job.py"]


def test_a_failing_element_is_that_elements_failure(tmp_path: Path) -> None:
    done = run_to_its_end(tmp_path, FAILING)
    assert done.returncode == 0
    assert done.stdout.split() == ["10", "5"]
    assert "ZeroDivisionError" in done.stderr
    assert "10 // number" in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", TOTAL],
            cwd=tmp_path,
            env=environment(MINI_FLINK_PORT=port),
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert done.returncode != 0
    assert f"port {port}" in done.stderr
    assert "this one process" not in done.stderr


NO_KEY = """
from mini_flink.datastream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").reduce(max).reply()
"""


def test_a_job_that_cannot_be_built_ends_as_under_serve(tmp_path: Path) -> None:
    done = run_to_its_end(tmp_path, NO_KEY)
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert lines[0] == "error: reduce() needs a keyed stream"
    assert lines[1].startswith("  --> job.py:5:")
    assert lines[-1].startswith("  = help: put .key_by(")
    assert len(lines) <= 8


def test_an_error_that_knows_no_place_is_told_with_the_jobs_own_line(tmp_path: Path) -> None:
    unkeyed = "\nfrom mini_flink.keys import encode_key\nencode_key(1.5)\nenv."
    done = run_to_its_end(tmp_path, NO_KEY.replace("\nenv.", unkeyed))
    assert done.returncode != 1
    assert "--> job.py:6:" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_job_itself_raises_or_shows_stays_pythons(tmp_path: Path) -> None:
    done = run_to_its_end(tmp_path, NO_KEY.replace("reduce(max)", "map(1 / 0)"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    hooked = "import sys\nsys.excepthook = lambda *_: print('mine')\n" + NO_KEY
    assert run_to_its_end(tmp_path, hooked).stdout == "mine\n"

"""``python job.py``: a job in one process, served until Ctrl-C, or run to its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CURL = shutil.which("curl")

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

FAILING = """
from mini_flink.datastream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_collection([1, 0, 2]).map(lambda number: 10 // number).print()
env.execute("division")
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MINI_FLINK_PORT": "0", **more}


@contextmanager
def running(*arguments: str, cwd: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its URL, read from its first line."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert " in this one process." in first, first + process.stderr.read()
        yield process, first.split()[1]
    finally:
        process.kill()
        process.communicate()


def curl(*arguments: str) -> str:
    assert CURL is not None
    return subprocess.run([CURL, "-s", "--max-time", "10", *arguments], capture_output=True, text=True).stdout


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_it_serves_says_that_nothing_is_durable_and_stops(tmp_path: Path) -> None:
    with running("-m", "mini_flink.examples.running_total", cwd=tmp_path) as (process, url):
        for expected in (3, 6):
            reply = curl(f"{url}/total", "-X", "POST", "-d", '{"key":"k17","amount":3}')
            assert reply == f'{{"key":"k17","total":{expected}}}'
        assert '"status":404' in curl(f"{url}/nowhere")
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, "")
        assert "Nothing is durable" in said
        assert "python -m mini_flink serve" in said
        assert said.splitlines()[-1] == "Stopped; the state is gone."
    assert list(tmp_path.iterdir()) == [], "nothing is left on disk"


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_a_failing_record_is_told_with_the_users_line(tmp_path: Path) -> None:
    with running("-m", "mini_flink.examples.running_total", cwd=tmp_path) as (process, url):
        assert '"code":"record-failed"' in curl(f"{url}/total", "-d", '{"key":"k17"}')
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert "KeyError: 'amount' in operator total" in said
    assert "running_total.py:" in said
    assert "^^^" in said


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_several_workers_in_the_one_process(tmp_path: Path) -> None:
    job = "mini_flink.examples.risk_engine"
    payment = (
        '{"application":"app","timestamp":1700000000000,"event_type":"transaction",'
        '"pay_account":"ann","rcv_account":"bob","amount":10}'
    )
    with running("-m", job, cwd=tmp_path, MINI_FLINK_WORKERS="3") as (_, url):
        reply = curl(f"{url}/event", "-X", "POST", "-d", payment)
    assert '"count(pay_account.history,1h)":1.0' in reply
    assert '"isAnomaly":false' in reply


def test_a_job_without_requests_runs_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(COLLECTION)
    done = subprocess.run(
        [sys.executable, "job.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    assert last == "the end"
    assert sorted(printed) == ["('milk', 10)", "('tea', 20)", "('tea', 50)"]
    assert [path.name for path in tmp_path.iterdir()] == ["job.py"]


def test_a_failing_element_is_that_elements_failure(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(FAILING)
    done = subprocess.run(
        [sys.executable, "job.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
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
            [sys.executable, "-m", "mini_flink.examples.running_total"],
            cwd=tmp_path,
            env=environment(MINI_FLINK_PORT=port),
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert done.returncode != 0
    assert f"port {port}" in done.stderr
    assert "this one process" not in done.stderr

"""``status`` of a real server: for people in a pipe and on a terminal, for programs, and by its exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.terminal import CODES, Terminal
from tests.cli.test_commands import environment
from tests.e2e.server import JOBS, ROOT, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, JOBS / "failing.py", "--workers", "2", "--gateways", "1")
    yield server.start()
    server.clean_up()


def status(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mini_flink", "status", "--data-dir", str(server.data_dir), *words]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)


def answered(report: dict[str, Any]) -> int:
    return sum(process["counters"].get("answered", 0) for process in report["processes"])


def test_it_says_what_is_served_and_names_the_last_error(server: Server) -> None:
    for amount in (1, 2):
        httpx.post(f"{server.url}/total", json={"key": "a", "amount": amount}).raise_for_status()
    error_id = httpx.post(f"{server.url}/total", json={"key": "a"}).json()["error_id"]
    server.until_status(lambda report: report["last_failure"] and answered(report) == 3, "the failure")
    done = status(server)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"failing   serving   up [\d.]+ m?s   {server.url}", lines[0])
    assert re.search(r"\n  requests +3 answered   0 in flight   0 refused   0 timed out\n", done.stdout)
    where = r"KeyError in total \(\S+failing.py:27 process_element\)"
    assert re.search(rf"\n  last error +{where}, .* ago   dead-letters show {error_id}\n", done.stdout)
    assert re.search(r"\n  page +off: the setting admin\n", done.stdout)
    assert re.search(r"\n  worker 1 +\d+  ready +0 +0  –\n", done.stdout)
    assert re.search(r"\n  total +Total +3 +2 +1\n", done.stdout)
    assert done.stdout.count("\n\n") == 3


def test_for_programs_it_is_exact(server: Server) -> None:
    done = status(server, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(report["uptime_ms"], int)
    assert report["last_failure"] is None
    assert {process["role"] for process in report["processes"]} == {"supervisor", "worker", "gateway"}


def test_on_a_terminal_no_line_is_longer_than_it(server: Server) -> None:
    terminal = Terminal("status", "--data-dir", str(server.data_dir), columns=60)
    try:
        assert terminal.wait() == 0
    finally:
        terminal.close()
    lines = CODES.sub("", terminal.text).splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.endswith("…") for line in lines)


def test_while_a_process_is_missing_it_exits_3(tmp_path: Path) -> None:
    gate, job = tmp_path / "gate", tmp_path / "slow_to_load.py"
    gate.touch()
    job.write_text(f"""
import os, time
from mini_flink.datastream import StreamExecutionEnvironment
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/echo").key_by(lambda value: 1).map(lambda value: value).reply()
env.execute("slow-to-load")
""")
    server = Server(tmp_path, job, "--workers", "1", "--gateways", "1")
    try:
        server.start()
        gate.unlink()
        server.kill("worker")
        server.until_status(lambda report: report["state"] == "degraded", "a missing worker")
        done = status(server)
        assert done.returncode == 3
        assert done.stdout.startswith("slow-to-load   degraded   ")
        gate.touch()
        server.until_status(lambda report: report["state"] == "serving", "the worker's return")
        assert status(server).returncode == 0
    finally:
        server.clean_up()

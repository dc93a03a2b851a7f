"""``Type=notify`` with a real socket: ready is said when a request succeeds, not before."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mini_flink.asking import query

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="serve needs Linux")

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0

SLOW_JOB = """
import os, time
time.sleep(0.7)
exec(open({example!r}).read())
"""


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def next(self, limit_s: float = LIMIT_S) -> dict[str, str]:
        """One datagram as assignments."""
        self._channel.settimeout(limit_s)
        lines = self._channel.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def is_silent(self) -> bool:
        self._channel.setblocking(False)
        try:
            self._channel.recv(4096)
        except BlockingIOError:
            return True
        return False


def bound(address: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind("\0" + address[1:] if address.startswith("@") else address)
    return channel


@contextmanager
def serving(address: str, data_dir: Path, job: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "mini_flink", "serve", job, "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--gateways", "1"],
        cwd=ROOT,
        env={**os.environ, "MINI_FLINK_ADMIN": "false", "NOTIFY_SOCKET": address},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def add(url: str, amount: int) -> Any:
    data = json.dumps({"key": "a", "amount": amount}).encode()
    with closing(urllib.request.urlopen(f"{url}/total", data=data, timeout=5)) as reply:
        return json.load(reply)["total"]


def url_of(ready: dict[str, str]) -> str:
    assert ready["READY"] == "1"
    state, url = ready["STATUS"].split()
    assert state == "serving"
    return url


@pytest.fixture(params=["file", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "file" else f"@mini-flink-test-{os.getpid()}"


EXAMPLE = "mini_flink.examples.running_total"


def test_ready_means_that_a_request_succeeds(address: str, tmp_path: Path) -> None:
    slow = tmp_path / "job.py"
    slow.write_text(SLOW_JOB.format(example=str(ROOT / "mini_flink" / "examples" / "running_total.py")))
    with bound(address) as channel, serving(address, tmp_path / "state", str(slow)) as process:
        manager = Manager(channel)
        with pytest.raises(TimeoutError):
            manager.next(0.5)  # the job is still being imported
        url = url_of(manager.next())
        assert add(url, 3) == 3, "the very first request, sent at once"
        assert manager.is_silent()
        process.send_signal(signal.SIGTERM)
        stopping = manager.next()
        assert stopping["STOPPING"] == "1"
        assert stopping["STATUS"] == "stopping"
        assert process.wait(LIMIT_S) == 0


def test_ready_comes_after_recovery(tmp_path: Path) -> None:
    address, data_dir = str(tmp_path / "notify"), tmp_path / "state"
    with bound(address) as channel:
        manager = Manager(channel)
        with serving(address, data_dir, EXAMPLE) as process:
            url = url_of(manager.next())
            assert [add(url, 1) for _ in range(3)] == [1, 2, 3]
            pids = [one["pid"] for one in query(str(data_dir))["processes"]]
            assert process.pid in pids
            for pid in pids:
                with suppress(ProcessLookupError):  # gone with its supervisor
                    os.kill(pid, signal.SIGKILL)
            process.wait(LIMIT_S)
        assert manager.is_silent(), "who is killed says nothing"
        with serving(address, data_dir, EXAMPLE) as process:
            assert add(url_of(manager.next()), 1) == 4
            process.send_signal(signal.SIGINT)
            assert manager.next()["STOPPING"] == "1"
            assert process.wait(LIMIT_S) == 0


def test_a_job_that_cannot_start_is_never_ready(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    (tmp_path / "job.py").write_text("raise RuntimeError('no')\n")
    with (
        bound(address) as channel,
        serving(address, tmp_path / "state", str(tmp_path / "job.py")) as process,
    ):
        assert process.wait(LIMIT_S) == 78
        assert Manager(channel).is_silent()


def test_without_a_manager_nothing_is_missing(tmp_path: Path) -> None:
    """A socket that nobody has bound, as in a container that inherited the variable."""
    with serving(str(tmp_path / "nobody"), tmp_path / "state", EXAMPLE) as process:
        for _ in range(200):
            if process.poll() is not None or (tmp_path / "state" / "run.json").exists():
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0

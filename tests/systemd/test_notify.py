"""``Type=notify`` with a real socket: ready is said when a request succeeds, not before."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mini_flink import procfs
from mini_flink.asking import query
from mini_flink.supervisor.notify import STALLED_MS, ServiceManager, getting_on

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

    def until(self, holds: Callable[[dict[str, str]], Any]) -> list[dict[str, str]]:
        """All datagrams up to the first that ``holds``."""
        heard = [self.next()]
        while not holds(heard[-1]):
            heard.append(self.next())
        return heard

    def ready(self) -> str:
        """The URL of a server that says, for the first time, that it is ready."""
        *before, ready = self.until(lambda word: "READY" in word)
        assert {name for word in before for name in word} <= {"STATUS", "EXTEND_TIMEOUT_USEC", "WATCHDOG"}
        found = re.fullmatch(r"serving (\S+), 2 workers, 1 gateway", ready["STATUS"])
        assert found is not None, ready
        return found[1]

    def empty(self) -> None:
        """Forget what was said until now."""
        while not self.is_silent():
            pass

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
def serving(address: str, data_dir: Path, job: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "mini_flink", "serve", job, "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--gateways", "1"],
        cwd=ROOT,
        env={**os.environ, "MINI_FLINK_ADMIN": "false", "NOTIFY_SOCKET": address, **variables},
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
        url = manager.ready()
        assert add(url, 3) == 3, "the very first request, sent at once"
        assert manager.is_silent()
        process.send_signal(signal.SIGTERM)
        assert manager.next() == {"STOPPING": "1", "STATUS": "stopping"}
        assert process.wait(LIMIT_S) == 0


def test_ready_comes_after_recovery(tmp_path: Path) -> None:
    address, data_dir = str(tmp_path / "notify"), tmp_path / "state"
    with bound(address) as channel:
        manager = Manager(channel)
        with serving(address, data_dir, EXAMPLE) as process:
            url = manager.ready()
            assert [add(url, 1) for _ in range(3)] == [1, 2, 3]
            pids = [one["pid"] for one in query(str(data_dir))["processes"]]
            assert process.pid in pids
            for pid in pids:
                with suppress(ProcessLookupError):  # gone with its supervisor
                    os.kill(pid, signal.SIGKILL)
            process.wait(LIMIT_S)
        assert manager.is_silent(), "who is killed says nothing"
        with serving(address, data_dir, EXAMPLE) as process:
            assert add(manager.ready(), 1) == 4
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


WATCHED = {"WATCHDOG_USEC": "400000", "MINI_FLINK_HANG_TIMEOUT_MS": "500"}


def test_the_watchdog_hears_a_loop_that_turns_while_a_worker_comes_back(tmp_path: Path) -> None:
    address, data_dir = str(tmp_path / "notify"), tmp_path / "state"
    with bound(address) as channel, serving(address, data_dir, EXAMPLE, **WATCHED) as process:
        manager = Manager(channel)
        url = manager.ready()
        pid = next(one["pid"] for one in query(str(data_dir))["processes"] if one["role"] == "worker")
        os.kill(pid, signal.SIGKILL)
        manager.until(lambda word: "degraded: waiting for worker 0" in word.get("STATUS", ""))
        back = manager.until(lambda word: word.get("STATUS") == f"serving {url}, 2 workers, 1 gateway")
        manager.until(lambda word: word.get("WATCHDOG") == "1")
        assert not any("READY" in word for word in back), "it was all the time"
        process.send_signal(signal.SIGSTOP)
        manager.empty()
        with pytest.raises(TimeoutError):
            manager.next(1.2)
        process.send_signal(signal.SIGCONT)
        manager.until(lambda word: word.get("WATCHDOG") == "1")
        assert add(url, 2) == 2
        process.send_signal(signal.SIGTERM)
        manager.until(lambda word: word.get("STOPPING") == "1")
        manager.until(lambda word: "EXTEND_TIMEOUT_USEC" in word)
        assert process.wait(LIMIT_S) == 0


def test_a_watchdog_of_another_process_hears_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    watched = {**WATCHED, "WATCHDOG_PID": str(os.getpid())}
    with bound(address) as channel, serving(address, tmp_path / "state", EXAMPLE, **watched) as process:
        manager = Manager(channel)
        manager.ready()
        with pytest.raises(TimeoutError):
            manager.next(0.6)
        process.send_signal(signal.SIGTERM)
        assert "STOPPING" in manager.next()
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("is_hung", [False, True], ids=["at work", "hung"])
def test_a_start_is_given_time_as_long_as_it_gets_on(
    is_hung: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of the test: a process that uses the processor, or one that never does."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    code = "input()" if is_hung else "while True: pass"
    member = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE)
    try:
        with bound(str(tmp_path / "notify")) as channel:
            manager = Manager(channel)
            told = ServiceManager(now_ms=0)
            until_idle(member.pid) if is_hung else None
            for now_ms in (0, STALLED_MS):
                until_moved(member.pid, procfs.cpu_ticks(member.pid)) if not is_hung else None
                told.step(now_ms, "starting", [member.pid], in_between=True)
            first = manager.next()
            assert first == {"STATUS": "starting", "WATCHDOG": "1", "EXTEND_TIMEOUT_USEC": "30000000"}
            if is_hung:
                assert manager.is_silent()
            else:
                assert manager.next() == {"WATCHDOG": "1", "EXTEND_TIMEOUT_USEC": "30000000"}
            assert told.due_ms(in_between=True) == STALLED_MS + 5_000
            assert told.due_ms(in_between=False) == STALLED_MS + 10_000
    finally:
        member.kill()
        member.communicate()


def until_moved(pid: int, ticks: int) -> None:
    while procfs.cpu_ticks(pid) == ticks:
        os.sched_yield()


def until_idle(pid: int) -> None:
    """It waits for its input."""
    while "pipe" not in Path(f"/proc/{pid}/wchan").read_text():
        os.sched_yield()


def test_state_that_moves_before_the_first_process_is_given_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with bound(str(tmp_path / "notify")) as channel:
        with getting_on("starting: it moves"):
            pass
        manager = Manager(channel)
        assert manager.next() == {"EXTEND_TIMEOUT_USEC": "30000000", "STATUS": "starting: it moves"}
        assert manager.is_silent()


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

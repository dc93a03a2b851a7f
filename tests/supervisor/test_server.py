"""The supervisor with real processes: stand-ins for workers and gateways, which do only what it sees."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mini_flink import folder as folders
from mini_flink.asking import RefusedError, UnavailableError, ask, query
from mini_flink.errors import EXIT_CONFIG
from mini_flink.jobs import JobTarget
from mini_flink.procfs import start_time
from mini_flink.supervisor.runtime_folder import remove_runtime_folder

ROOT = Path(__file__).parents[2]

JOB = '''"""A total per key.

    curl localhost:7071/total -d '{"key": "a", "amount": 1}'
"""
from mini_flink.datastream import StreamExecutionEnvironment

print("the job's top level")
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(lambda value: value["key"]).map(lambda value: value).uid("total").reply()
env.execute("running-total")
'''


class Server:
    """A server under test, its output collected while it runs."""

    def __init__(self, tmp_path: Path, habits: dict[str, str], settings: dict[str, Any], *more: str) -> None:
        self.data_dir = str(tmp_path / "state")
        known = {"port": 0, "workers": 2, "gateways": 2, "data_dir": self.data_dir, "admin": False}
        self.settings = {**known, **settings}
        (tmp_path / "job.py").write_text(JOB)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.supervisor.run_server",
                str(tmp_path / "job.py"),
                json.dumps(self.settings),
                *more,
            ],
            cwd=ROOT,
            env={**os.environ, "STAND_IN": json.dumps(habits), "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.changed:
                self.output += line
                self.changed.notify_all()

    def until(self, pattern: str, seconds: float = 10) -> re.Match[str]:
        with self.changed:
            self.changed.wait_for(lambda: re.search(pattern, self.output), seconds)
            found = re.search(pattern, self.output)
            assert found, f"{pattern!r} was not said in {seconds} s:\n{self.output}"
            return found

    def status(self) -> dict[str, Any]:
        return query(self.data_dir)

    def pid(self, role: str, index: int) -> int:
        return next(
            int(each["pid"])
            for each in self.status()["processes"]
            if (each["role"], each["index"]) == (role, index)
        )

    def wait(self, seconds: float = 15) -> int:
        code = self.process.wait(seconds)
        self.reader.join(5)
        return code

    def said(self, name: str) -> list[str]:
        return Path(self.data_dir, f"{name}.said").read_text().splitlines()

    def told(self, name: str, about: str, incarnation: int) -> dict[str, list[Any]]:
        """The peers that ``name`` was told of, once ``about`` is in them with this incarnation."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            for line in self.said(name):
                _, brace, rest = line.partition(" {")
                if brace and line.endswith("}") and json.loads("{" + rest).get(about, [0])[0] == incarnation:
                    return json.loads("{" + rest)
            time.sleep(0.01)
        raise AssertionError(f"{name} was not told: {self.said(name)}")

    @property
    def port(self) -> int:
        return int(self.until(r"Ready   http://127\.0\.0\.1:(\d+)")[1])

    def ask(self) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return connection.recv(100).decode()


Run = Callable[..., Server]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    servers: list[Server] = []

    def start(habits: dict[str, str] | None = None, *more: str, **settings: Any) -> Server:
        servers.append(Server(tmp_path, habits or {}, settings, *more))
        return servers[-1]

    yield start
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            server.process.send_signal(signal.SIGINT)
            server.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(3)
        server.process.kill()
        server.wait()
        left = folders.read_run(server.data_dir)
        if left is not None:
            remove_runtime_folder(left["runtime_dir"])


def test_it_serves_says_so_and_stops_cleanly(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    lines = server.output.splitlines()
    assert lines[0] == "the job's top level"
    assert re.fullmatch(
        r"mini_flink \S+   running-total   job\.py:\d+   3 steps, 2 workers, 2 gateways", lines[-5]
    )
    assert (
        f'Try     curl http://127.0.0.1:{server.port}/total -d \'{{"key": "a", "amount": 1}}\'' in lines[-3]
    )
    assert "survives kill -9 and power cuts, new, 4 commits redone" in lines[-2]
    assert server.output.count("total has no uid") == 1, "a warning of several processes is said once"
    assert server.ask() in ("g0.1", "g1.1")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Stopping: no new requests, 0 in flight (limit 10 s" in server.output
    assert re.search(
        r"Stopped in \d+\.\d s\. 12 answered, 0 timed out, 0 dropped\. State is safe in", server.output
    )
    record = json.loads(Path(server.data_dir, "job.json").read_text())
    assert (record["clean"], record["workers"], record["operators"]) == (True, 2, record["operators"])
    assert folders.read_run(server.data_dir) is None
    order = [server.said(name)[-1].split()[0] for name in ("w0", "g0")]
    assert order == ["13", "13"], "everybody was told to stop"


def test_a_job_that_never_loads_is_called_off(run: Run, tmp_path: Path) -> None:
    server = run({"resharder": "never ready"}, "200", workers=1, gateways=1)
    server.until("Stop    Ctrl-C")
    job = JobTarget.parse("newer.py", directory=str(tmp_path)).as_dict()
    with pytest.raises(RefusedError, match=r"newer\.py was still loading after .*newer\.py\)") as refused:
        ask(server.data_dir, "upgrade", {"job": job}, limit_s=30)
    assert refused.value.exit_code == EXIT_CONFIG
    assert "then upgrade again" in refused.value.help
    assert server.status()["state"] == "serving"


def test_nothing_is_left_behind(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    runtime_dir = json.loads(Path(server.data_dir, "run.json").read_text())["runtime_dir"]
    pids = [each["pid"] for each in server.status()["processes"]]
    assert len(pids) == 5
    server.process.send_signal(signal.SIGINT)
    assert server.wait() == 0
    assert not os.path.exists(runtime_dir)
    assert [pid for pid in pids if start_time(pid)] == []


def test_status_says_who_runs_and_what_was_done(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    report = server.status()
    assert (report["job"], report["state"], report["durability"]) == ("running-total", "serving", "disk")
    assert report["url"] == f"http://127.0.0.1:{server.port}"
    roles = [(each["role"], each["index"], each["state"], each["restarts"]) for each in report["processes"]]
    assert roles == [
        ("supervisor", 0, "ready", 0),
        ("worker", 0, "ready", 0),
        ("worker", 1, "ready", 0),
        ("gateway", 0, "ready", 0),
        ("gateway", 1, "ready", 0),
    ]
    assert report["processes"][0]["pid"] == server.process.pid
    assert report["processes"][3]["counters"]["answered"] == 3
    assert report["processes"][1]["counters"]["resends"] == 0
    first = report["operators"][0]
    assert (first["in"], first["out"], first["failed"]) == (20, 16, 4)


def test_status_of_a_folder_that_nobody_serves(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as refused:
        query(str(tmp_path))
    assert refused.value.exit_code == 69
    server = run()
    server.until("Stop    Ctrl-C")
    server.process.kill()
    server.wait()
    with pytest.raises(UnavailableError):
        query(server.data_dir)


def test_a_killed_worker_is_back_as_the_next_incarnation_and_all_are_told(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    pid = server.pid("worker", 1)
    os.kill(pid, signal.SIGKILL)
    server.until(rf"warn   worker 1 \(pid {pid}\) died: SIGKILL")
    server.until(r"ok     worker 1 is back \(pid \d+\) after \d+\.\d+ s   2 commits redone")
    processes = server.status()["processes"]
    assert (processes[2]["restarts"], processes[2]["incarnation"]) == (1, 2)
    for name in ("w0", "g0", "g1"):
        peers = server.told(name, "w1", 2)
        assert peers["w1"][1].endswith("/w1.2")
        assert peers["w0"][0] == 1
    assert server.said("w1")[-1] == "started 2 False None"


def test_connections_to_a_dead_gateway_wait_for_the_next(run: Run) -> None:
    server = run(gateways=1)
    server.until("Stop    Ctrl-C")
    os.kill(server.pid("gateway", 0), signal.SIGKILL)
    assert server.ask() == "g0.2"


def test_incarnations_go_on_after_everything_was_killed(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    pids = [each["pid"] for each in server.status()["processes"]]
    runtime_dir = json.loads(Path(server.data_dir, "run.json").read_text())["runtime_dir"]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.wait()
    port = server.port
    again = run(workers=None, port=port)
    again.until("Stop    Ctrl-C")
    assert "continued" in again.output
    assert {each["incarnation"] for each in again.status()["processes"]} == {2}
    assert not os.path.exists(runtime_dir)


def test_the_processes_of_a_killed_supervisor_leave_or_are_removed(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    pids = [each["pid"] for each in server.status()["processes"]]
    os.kill(pids[1], signal.SIGSTOP)
    server.process.kill()
    server.process.wait()
    again = run(port=server.port)
    again.until("Stop    Ctrl-C")
    assert [pid for pid in pids if start_time(pid)] == []


def test_a_worker_that_dies_at_every_start_is_reported(run: Run) -> None:
    server = run({"w1": "die"})
    assert server.wait() == 78
    assert "error: worker 1 died 3 times in a row before it was ready: exit code 9" in server.output
    assert "Ready" not in server.output


def test_a_worker_that_dies_once_is_started_again(run: Run) -> None:
    server = run({"w1": "die once"})
    server.until("Stop    Ctrl-C")
    assert server.said("w1") == ["started 1 True None", "started 2 True None"]  # it has never been ready


def test_a_failure_that_a_child_reports_ends_the_server(run: Run) -> None:
    server = run({"w0": "fail"})
    assert server.wait() == 78
    assert "error: open() of total raised" in server.output
    assert "died" not in server.output


def test_it_says_what_it_waits_for(run: Run) -> None:
    server = run({"g1": "slow"}, gateways=2)
    server.until(r"info   waiting for (.*, )?gateway 1\n")
    assert "Ready" not in server.output
    assert server.status()["state"] == "starting"
    server.until("Stop    Ctrl-C")


def test_a_hung_worker_is_killed_and_its_page_names_the_record(run: Run) -> None:
    server = run({"w0": "hang"}, hang_timeout_ms=1500)
    server.until(r"warn   worker 0 \(pid \d+\) is busy with one record \(user code\) for \d s in ")
    server.until(r"worker 0 \(pid \d+\) died: SIGKILL \(busy with one record \(user code\) for \d s in ")
    server.until(r"worker 0 is back")
    assert server.said("w0")[-1] == "started 2 False Death(source=65536, session=1, number=17, deaths=1)"


def test_a_stopped_worker_is_killed(run: Run) -> None:
    server = run(hang_timeout_ms=300)
    server.until("Stop    Ctrl-C")
    os.kill(server.pid("worker", 0), signal.SIGSTOP)
    server.until(r"worker 0 \(pid \d+\) died: SIGKILL \(stopped for \d s\)")
    server.until(r"worker 0 is back")


def test_with_the_watchdog_off_a_stopped_worker_is_only_warned_of(run: Run) -> None:
    server = run(hang_timeout_ms=0)
    server.until("Stop    Ctrl-C")
    pid = server.pid("worker", 0)
    os.kill(pid, signal.SIGSTOP)
    server.until(r"warn   worker 0 \(pid \d+\) is stopped for \d s")
    os.kill(pid, signal.SIGCONT)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "died" not in server.output


def test_the_second_ctrl_c_ends_at_once(run: Run) -> None:
    server = run({"g0": "hang on stop"})
    server.until("Stop    Ctrl-C")
    server.process.send_signal(signal.SIGINT)
    server.until("Stopping")
    server.process.send_signal(signal.SIGINT)
    assert server.wait(2) == 130
    assert "Stopped at once. What was answered is safe" in server.output
    assert json.loads(Path(server.data_dir, "job.json").read_text())["clean"] is False


def test_a_process_that_does_not_stop_in_time_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = run({"w0": "hang on stop"}, shutdown_grace_ms=0)
    server.until("Stop    Ctrl-C")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert json.loads(Path(server.data_dir, "job.json").read_text())["clean"] is False


def test_a_second_server_on_the_folder_or_the_port_is_refused(run: Run, tmp_path: Path) -> None:
    server = run()
    server.until("Stop    Ctrl-C")
    same_folder = run()
    assert same_folder.wait() == 75
    assert f'is in use by "mini_flink supervisor" (pid {server.process.pid})' in same_folder.output
    same_port = run(port=server.port, data_dir=str(tmp_path / "other"))
    assert same_port.wait() == 75
    assert f'error: port {server.port} is in use by "mini_flink' in same_port.output
    assert "the job's top level" not in same_port.output, "the port comes before the job"
    offered = re.search(r"choose another: --port (\d+)", same_port.output)
    assert offered is not None
    assert int(offered[1]) > server.port


def test_systemd_hears_when_it_is_ready_and_when_it_stops(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        server = run()
        while not (ready := manager.recv(1000).decode()).startswith("READY=1"):
            assert ready.startswith(("STATUS=starting", "EXTEND_TIMEOUT_USEC="))
        assert ready.startswith(f"READY=1\nSTATUS=serving http://127.0.0.1:{server.port}, ")
        server.process.send_signal(signal.SIGTERM)
        assert manager.recv(1000).decode() == "STOPPING=1\nSTATUS=stopping"
        assert server.wait() == 0


def test_idle_costs_next_to_nothing(run: Run) -> None:
    server = run()
    server.until("Stop    Ctrl-C")

    def cpu_ticks() -> int:
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = cpu_ticks()
    time.sleep(1.5)
    assert cpu_ticks() - before <= 2

"""``systemd install``: what it writes is what systemd takes, and what serves."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mini_flink.config_layers import resolve
from mini_flink.errors import UsageError
from mini_flink.jobs import JobTarget
from mini_flink.systemd.install import CONFIGURATION, DROP_IN, UNITS, install
from tests.systemd.test_notify import LIMIT_S, ROOT, Manager, add, bound

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="serve needs Linux")

EXAMPLE = ROOT / "mini_flink" / "examples" / "running_total.py"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class System:
    """A root folder with one job installed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.job = folder / "my job.py"
        self.job.write_text(EXAMPLE.read_text())
        self.port = free_port()
        self.service = self.root / UNITS[1:] / "mini-flink@orders.service.d" / DROP_IN
        self.configuration = self.root / CONFIGURATION[1:] / "orders"

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        words = ["systemd", "install", str(self.job), "--name", "orders", "--root", str(self.root)]
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "mini_flink",
                *words,
                "--port",
                str(self.port),
                "--workers",
                "2",
                *options,
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )

    def command(self, key: str) -> list[str]:
        """A command of the unit, as systemd would run it."""
        found = re.search(rf"^{key}=(.+)$", self.service.read_text(), re.MULTILINE)
        assert found is not None
        return [word.replace("${STATE_DIRECTORY}", f"{self.folder}/state") for word in shlex.split(found[1])]

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        with TemporaryDirectory(prefix="run") as runtime:  # a path as short as systemd's
            process = subprocess.Popen(
                self.command("ExecStart"),
                cwd=self.configuration,
                env={**self.environment, "RUNTIME_DIRECTORY": runtime},
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "STATE_DIRECTORY": str(self.folder / "state"),
        }


def test_what_is_installed_serves_is_killed_serves_and_is_reloaded(tmp_path: Path) -> None:
    system = System(tmp_path)
    done = system.install("--gateways", "1")
    assert done.returncode == 0, done.stderr
    assert "systemctl enable --now mini-flink@orders.socket mini-flink@orders.service" in done.stdout
    with bound(str(tmp_path / "notify")) as channel:
        manager = Manager(channel)
        with system.started() as process:
            url = manager.ready()
            assert url == f"http://127.0.0.1:{system.port}"
            assert [add(url, 1), add(url, 1)] == [1, 2]
            process.send_signal(signal.SIGKILL)
            process.wait(LIMIT_S)
        with system.started() as process:
            url = manager.ready()
            assert add(url, 1) == 3
            job = system.configuration / "job.py"
            job.write_text(job.read_text() + "\nraise RuntimeError('no')\n")
            reload = system.command("ExecReload")
            failed = subprocess.run(reload, cwd=system.configuration, env=system.environment)
            assert failed.returncode == 78
            assert add(url, 1) == 4, "the old version goes on"
            job.write_text(EXAMPLE.read_text() + "\n# the next version\n")
            subprocess.run(reload, cwd=system.configuration, env=system.environment, check=True)
            assert add(url, 1) == 5
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
        (system.configuration / "job.py").write_text("def\n")
        with system.started() as process:
            assert process.wait(LIMIT_S) == 78


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_what_is_installed(tmp_path: Path) -> None:
    system = System(tmp_path)
    assert system.install("--", "100 %", 'a "b" $c').returncode == 0
    # What any system has: a root for verify has to be a whole one.
    interpreter = tmp_path / "root" / sys.executable[1:]
    interpreter.parent.mkdir(parents=True, exist_ok=True)
    interpreter.write_text("")
    interpreter.chmod(0o755)
    for target in ("network", "multi-user", "sockets", "sysinit", "basic", "shutdown"):
        unit = system.root / UNITS[1:] / f"{target}.target"
        unit.write_text(f"[Unit]\nDescription={target}\nDefaultDependencies=no\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={system.root}", "mini-flink@orders.service"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_files_that_say_something_else_stay(tmp_path: Path) -> None:
    system = System(tmp_path)
    dry = system.install("--dry-run")
    assert (dry.returncode, system.root.exists()) == (0, False)
    done = system.install()
    assert dry.stdout.replace("would write", "wrote") == done.stdout
    assert "everything is there already" in system.install().stdout
    toml = system.configuration / "mini_flink.toml"
    assert f"port = {system.port}\nworkers = 2\n" in toml.read_text()
    toml.write_text("workers = 1\n")
    refused = system.install()
    assert refused.returncode == 75
    assert f"{CONFIGURATION}/orders/mini_flink.toml" in refused.stderr
    assert toml.read_text() == "workers = 1\n"
    forced = system.install("--force")
    assert forced.stdout.splitlines()[0] == f"wrote {CONFIGURATION}/orders/mini_flink.toml"
    assert "systemctl reload mini-flink@orders" in forced.stdout


def test_it_warns_of_what_the_service_would_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINI_FLINK_BATCH_MS", "7")
    system = System(tmp_path)
    (tmp_path / "prices.py").write_text("PRICE = 1\n")
    system.job.write_text(f"{system.job.read_text()}\nimport prices\n")
    other = system.root / UNITS[1:] / "mini-flink@shop.socket.d" / DROP_IN
    other.parent.mkdir(parents=True)
    other.write_text(f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{system.port}\n")
    done = system.install("--snapshot-dir", "backups", "--admin-token-file", "token")
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 4, done.stderr
    for warning, names in zip(
        warned,
        (
            "MINI_FLINK_BATCH_MS (batch_ms)",
            "MINI_FLINK_LOG",
            "prices.py is not copied",
            "mini-flink@shop.socket:",
        ),
        strict=True,
    ):
        assert names in warning
    toml = (system.configuration / "mini_flink.toml").read_text()
    assert f'snapshot_dir = "{tmp_path}/backups"' in toml
    assert f'admin_token_file = "{tmp_path}/token"' in toml
    assert "batch_ms" not in toml


def test_what_a_service_does_not_take_is_refused() -> None:
    job = JobTarget.parse("job.py")
    for name, value in (("dev", True), ("data_dir", "d"), ("runtime_dir", "r")):
        settings = resolve({name: value}, environment={}, directory="/")
        with pytest.raises(UsageError, match=name.replace("_", "-")):
            install(settings, job, name=None, root="/nowhere", force=False, dry_run=True)


def test_a_job_that_cannot_start_is_not_installed(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.job.write_text("def\n")
    assert (system.install().returncode, system.root.exists()) == (78, False)

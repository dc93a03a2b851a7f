"""The systemd units are ones that systemd takes, closed tightly, and fit what the server does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mini_flink import errors
from mini_flink.config import BY_NAME
from mini_flink.supervisor.loop import STOP_MARGIN_MS

UNITS = Path(__file__).parents[2] / "mini_flink" / "systemd"
UNIT = UNITS / "mini-flink@.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings(unit: Path = UNIT) -> dict[str, str]:
    lines = unit.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def instance(folder: Path) -> Path:
    """The units as an instance; its service."""
    for name in ("mini-flink@.service", "mini-flink@.socket"):
        (folder / name.replace("@", "@orders")).write_text((UNITS / name).read_text())
    shutil.copy(UNITS / "mini-flink.slice", folder)
    return folder / "mini-flink@orders.service"


def analyze(*words: str) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    service = instance(tmp_path)
    units = [str(path) for path in (service, service.with_suffix(".socket"), tmp_path / "mini-flink.slice")]
    assert analyze("verify", "--man=no", *units) == ""


@needs_systemd
def test_a_job_that_is_broken_into_gets_nowhere(tmp_path: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", str(instance(tmp_path)))
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= 1.5


def test_it_waits_for_ready_and_hears_the_supervisor_only() -> None:
    unit = settings()
    assert (unit["Type"], unit["NotifyAccess"], unit["KillMode"]) == ("notify", "main", "mixed")


def test_it_does_not_start_again_what_cannot_start() -> None:
    unit = settings()
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"].split() == [str(errors.EXIT_USAGE), str(errors.EXIT_CONFIG)]


def test_it_waits_longer_than_a_shut_down_may_take() -> None:
    grace_ms = BY_NAME["shutdown_grace_ms"].default
    needed_ms = 2 * (grace_ms + STOP_MARGIN_MS)  # gateways first, then workers
    assert int(settings()["TimeoutStopSec"].removesuffix("s")) * 1000 > needed_ms


@pytest.mark.parametrize(("key", "command"), [("ExecStart", "serve"), ("ExecReload", "upgrade")])
def test_its_commands_name_options_that_exist(key: str, command: str) -> None:
    words = settings()[key].split()
    assert words[1:4] == ["mini-flink", command, "job.py"]
    flags = {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    assert flags == {"data_dir"}
    assert command in BY_NAME["data_dir"].commands


def test_its_port_is_the_one_of_the_server() -> None:
    socket = settings(UNITS / "mini-flink@.socket")
    assert socket["ListenStream"] == f"{BY_NAME['host'].default}:{BY_NAME['port'].default}"
    assert settings()["Sockets"] == "mini-flink@%i.socket"

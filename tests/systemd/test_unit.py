"""The systemd unit is one that systemd takes, and fits what the server does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mini_flink import errors
from mini_flink.cli import EXIT_USAGE
from mini_flink.config import BY_NAME
from mini_flink.supervisor.loop import STOP_MARGIN_MS

UNIT = Path(__file__).parents[2] / "systemd" / "mini-flink@.service"


def settings() -> dict[str, str]:
    lines = UNIT.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    instance = tmp_path / "mini-flink@orders.service"
    instance.write_text(UNIT.read_text())
    command = ["systemd-analyze", "verify", "--man=no", str(instance)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_waits_for_ready_and_hears_the_supervisor_only() -> None:
    unit = settings()
    assert (unit["Type"], unit["NotifyAccess"], unit["KillMode"]) == ("notify", "main", "mixed")


def test_it_does_not_start_again_what_cannot_start() -> None:
    unit = settings()
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"].split() == [str(EXIT_USAGE), str(errors.EXIT_CONFIG)]


def test_it_waits_longer_than_a_shut_down_may_take() -> None:
    grace_ms = BY_NAME["shutdown_grace_ms"].default
    needed_ms = 2 * (grace_ms + STOP_MARGIN_MS)  # gateways first, then workers
    assert int(settings()["TimeoutStopSec"].removesuffix("s")) * 1000 > needed_ms


def test_its_command_names_options_that_exist() -> None:
    words = settings()["ExecStart"].split()
    assert words[1:4] == ["mini-flink", "serve", "job.py"]
    flags = {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    assert flags == {"data_dir"}
    assert flags <= BY_NAME.keys()

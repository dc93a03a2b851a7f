"""The systemd unit is one that systemd takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "mini-flink@.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    instance = tmp_path / "mini-flink@orders.service"
    instance.write_text(UNIT.read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(instance)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_waits_for_ready_and_does_not_loop_on_a_wrong_job() -> None:
    lines = UNIT.read_text().splitlines()
    for wanted in ("Type=notify", "NotifyAccess=main", "KillMode=mixed", "RestartPreventExitStatus=2 78"):
        assert wanted in lines

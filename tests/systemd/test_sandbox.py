"""What the unit forbids is not needed: who may not change priorities rescales, and shows its page."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mini_flink.asking import UnavailableError, ask, query
from tests.systemd.sandboxed import SETPRIORITY

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in SETPRIORITY,
    reason="a filter of Linux on two machines",
)


def test_nobody_needs_to_change_priorities(tmp_path: Path) -> None:
    data_dir = str(tmp_path / "state")
    words = ["serve", "mini_flink.examples.running_total", "--port", "0", "--admin-port", "0"]
    words += ["--data-dir", data_dir, "--workers", "1", "--gateways", "1"]
    wrapper = [sys.executable, "-m", "tests.systemd.sandboxed"]
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-m", "mini_flink", *words],
        cwd=ROOT,
        env={**os.environ, "MINI_FLINK_ADMIN": "true"},
    )
    try:
        url = _until_served(process, data_dir)
        assert ask(data_dir, "rescale", {"workers": 2, "parallelisms": {}})["workers"] == 2
        with urllib.request.urlopen(f"{url}/api/v1/plan", timeout=LIMIT_S) as reply:
            assert reply.status == 200
        [admin] = [each for each in query(data_dir)["processes"] if each["role"] == "admin"]
        assert (admin["restarts"], admin["last_exit"]) == (0, "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()


def _until_served(process: subprocess.Popen[bytes], data_dir: str) -> str:
    """The admin address, once it knows of the server."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            url = str(query(data_dir)["admin_url"])
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return url
        except (UnavailableError, OSError):
            time.sleep(0.05)
    raise AssertionError("it never served its page")

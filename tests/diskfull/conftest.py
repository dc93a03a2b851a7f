"""A small file system of its own, to run out of space on, and servers with their data on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server

Serve = Callable[..., Server]

DISK_BYTES = 16 << 20

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(mount_point)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root")
    yield mount_point
    subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


@pytest.fixture
def serve(small_disk: Path) -> Iterator[Serve]:
    """``serve(job, *options)`` makes a server whose data folder is on the small disk; not yet started."""
    servers: list[Server] = []

    def make(job: str | Path, *options: str, **more: Any) -> Server:
        servers.append(Server(small_disk, job, *options, **more))
        return servers[-1]

    yield make
    for server in servers:
        server.clean_up()

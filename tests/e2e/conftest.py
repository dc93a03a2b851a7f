"""Servers that are gone, whatever happens, when their test is over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pages import browser, context, page, shared
from tests.e2e.server import JOBS, Server

__all__ = ["browser", "context", "page", "shared"]

Serve = Callable[..., Server]

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Makes servers: ``serve(job, *options, args=, environment=)``; not yet started.

    Unless a test says otherwise (``clumsy = True``), no process may end but by the test's own hand: it would
    be started again, and nobody would notice.
    """
    servers: list[Server] = []

    def make(job: str | Path, *options: str, **more: Any) -> Server:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(folder, job, *options, **more))
        return servers[-1]

    yield make
    for server in servers:
        server.clean_up()
    assert [line for server in servers if not server.clumsy for line in server.surprises()] == []


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that the requests of the gated job wait for."""
    return tmp_path / "gate"


@pytest.fixture
def gated(serve: Serve, gate: Path) -> Callable[..., Server]:
    def start(*options: str) -> Server:
        patient = ("--workers", "1", "--gateways", "1", "--hang-timeout-ms", "0")
        return serve(JOBS / "gated.py", *patient, *options, args=[str(gate)]).start()

    return start

"""Under real load the verdict names the operator that is slow, and not those that wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.test_served import WITH_PAGE, until
from tests.e2e.client import Load
from tests.e2e.server import JOBS, Server

CLIENTS = 256
SLOW_MS = 15


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, JOBS / "slow.py", "--workers", "1", "--gateways", "1", environment=WITH_PAGE)
    yield server.start()
    server.clean_up()


def test_the_slow_operator_is_named_and_nobody_who_waits_for_it(server: Server) -> None:
    url = f"{server.status()['admin_url']}/api/v1/tick"

    def tick() -> dict[str, Any]:
        try:
            found: dict[str, Any] = httpx.get(url, timeout=20).raise_for_status().json()
        except httpx.HTTPError:
            return {"verdict": {"code": ""}}
        return found

    def says(*codes: str) -> dict[str, Any] | None:
        one = tick()
        return one if one["verdict"]["code"] in codes else None

    chains = [repeat({"key": f"k{number}", "ms": SLOW_MS}) for number in range(CLIENTS)]
    load = Load(lambda: server.url, "/slow", chains).start()
    try:
        one = until(lambda: says("SATURATED"), "a worker is said to be full")
    finally:
        load.stop()
    assert one["verdict"]["node"] == "slow", one["verdict"]
    words = {node["id"]: node["state"] for node in one["nodes"]}
    assert words["slow"] == "saturated"
    assert "saturated" not in (words["before"], words["after"])

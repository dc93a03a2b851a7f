"""Crashes at the named points, under load: all adds up, unless a worker makes a mistake that they uncover.

Each mistake is planted into real workers and goes through the same check as the server that ships; there it
must be seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import checks, ledgers
from tests.e2e.client import Load, post_all
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, Server

CRASHES = (
    "w0@after_log_write:40",
    "w1@before_send:41",
    "w1@after_log_write:60",
    "w0@before_send:51",
    "w1@after_send:99",  # one peer has its records and acknowledgement, the others have not
    "w0@mid_flush:2",
    "w1@after_flush:2",
    "w0@before_recycle:2",
)
RECOVERY_CRASHES = ("w0@during_redo", "w0@during_recovery", "w1@after_recovery")


def plan(crashes: tuple[str, ...], folder: Path) -> dict[str, str]:
    folder.mkdir()
    return {"MINI_FLINK_CRASH": ",".join(crashes), "MINI_FLINK_CRASH_ONCE_DIR": str(folder)}


def symptoms(server: Server, folder: Path) -> list[str]:
    """What a client sees of crashes at all points: failed requests, and sums that do not add up."""
    load = Load(lambda: server.url, "/order", checks.orders(SEED, 32)).start()
    while len(list(folder.iterdir())) < len(CRASHES) and not checks.failed(load.all()):
        load.until_done(20)
    if not checks.failed(load.all()):
        load.until_done(200)
    exchanges = load.stop()
    failed = checks.failed(exchanges)
    if failed:
        return [f"{exchange.value} failed: {exchange.status}" for exchange in failed]
    closing = [
        exchange for chain in post_all(server.url, "/order", checks.closing_orders()) for exchange in chain
    ]
    return checks.order_problems(exchanges, closing)


@pytest.mark.parametrize(
    "mistake", ["none", "send before commit", "acknowledge on receipt", "no dedupe", "trim on send"]
)
def test_crashes_at_every_point_are_harmless_and_uncover_mistakes(
    serve: Serve, tmp_path: Path, mistake: str
) -> None:
    crashed = tmp_path / "crashed"
    timeout_ms = "60000" if mistake == "none" else "3000"
    server = serve(
        JOBS / "mistaken.py",
        *("--workers", "2", "--flush-interval-ms", "100", "--batch-records", "4"),
        *("--request-timeout-ms", timeout_ms),
        args=[mistake],
        environment=plan(CRASHES, crashed),
    )
    server.clumsy = mistake != "none"
    server.start()
    found = symptoms(server, crashed)
    print(f"{mistake}: {len(found)} symptoms, such as {found[:3]}")
    if mistake == "none":
        assert found == []
        assert len(list(crashed.iterdir())) == len(CRASHES)
        assert server.stop() == 0
    else:
        assert found != []


def test_crashes_during_recoveries(serve: Serve, tmp_path: Path) -> None:
    server = serve(JOBS / "ledger.py", "--workers", "2", "--flush-interval-ms", "60000").start()
    load = Load(lambda: server.url, "/add", ledgers.chains(16)).start()
    for attempt in range(2):
        load.until_done(200)
        server.kill_all()
        since = server.mark()
        crashed = tmp_path / f"crashed {attempt}"
        server.start(environment=plan(RECOVERY_CRASHES, crashed))
        assert len(list(crashed.iterdir())) == len(RECOVERY_CRASHES)
        assert "redone" in server.until(r"  State   .*", since)[0], "there was something to recover"
    load.until_done(200)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} == {0, 200}
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0

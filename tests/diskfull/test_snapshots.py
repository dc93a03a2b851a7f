"""No space for a snapshot: it fails, with a reason, and nothing else does."""

from __future__ import annotations

from pathlib import Path

from tests.diskfull.conftest import Serve
from tests.diskfull.test_disk_full import SMALL_STEPS, Ballast, Loads, until
from tests.e2e import checks, ledgers
from tests.e2e.client import Load
from tests.e2e.commands import run
from tests.e2e.server import JOBS, Server

LEDGER = JOBS / "ledger.py"


def until_failed(server: Server) -> str:
    """Wait until a snapshot has failed; why."""
    report = server.until_status(lambda status: status["snapshots"]["failed"], "a failed snapshot")
    return str(report["snapshots"]["last_failure"])


def test_a_full_disk_of_their_own_disturbs_nobody(small_disk: Path, tmp_path: Path) -> None:
    options = ("--gateways", "1", "--snapshot-dir", str(small_disk / "kept"), "--snapshot-interval-s", "1")
    server = Server(tmp_path, LEDGER, "--workers", "2", *options)
    try:
        server.start()
        load = Load(lambda: server.url, "/add", ledgers.chains(16)).start()
        server.until_status(lambda status: status["snapshots"]["completed"], "a snapshot")
        with Ballast(small_disk) as ballast:
            reason = until_failed(server)
            assert "No space left" in reason or "no space left" in reason
            server.until(r"a snapshot failed: .*[Nn]o space left")
            ballast.fill()
            refused = run(server, "savepoint")
            assert (refused.code != 0, "space left" in refused.err) == (True, True)
            load.until_done(200)
        completed = server.status()["snapshots"]["completed"]
        assert run(server, "savepoint").code == 0
        server.until_status(lambda status: status["snapshots"]["completed"] >= completed + 2, "snapshots")
        exchanges = load.stop()
        assert checks.failed(exchanges) == []
        assert ledgers.problems(server.url, exchanges) == []
        assert all(process["restarts"] == 0 for process in server.status()["processes"])
        assert run(server, "snapshot verify", "--snapshot-dir", str(small_disk / "kept")).code == 0
        assert server.stop() == 0
    finally:
        server.clean_up()


def test_a_full_disk_that_holds_the_data_too(serve: Serve, small_disk: Path) -> None:
    server = serve(LEDGER, "--workers", "2", "--gateways", "1", "--snapshot-interval-s", "1", *SMALL_STEPS)
    server.start()
    loads = Loads(server)
    server.until_status(lambda status: status["snapshots"]["completed"], "a snapshot")
    with Ballast(small_disk) as ballast:
        loads.knock()
        ballast.fill()
        until_failed(server)
    until(loads.first, 200, 300)
    completed = server.status()["snapshots"]["completed"]
    server.until_status(lambda status: status["snapshots"]["completed"] > completed, "a snapshot")
    exchanges = loads.stop()
    assert {exchange.status for exchange in exchanges} == {200, 503}
    assert ledgers.problems(server.url, exchanges) == []
    assert all(process["restarts"] == 0 for process in server.status()["processes"])
    assert run(server, "snapshot verify").code == 0
    assert server.stop() == 0

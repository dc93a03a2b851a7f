"""Snapshots of a server under load: nobody notices them, and what goes wrong with one harms nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mini_flink.errors import EXIT_CONFIG, EXIT_STORAGE, EXIT_TRY_AGAIN
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.manifest import Manifest
from tests.e2e import checks, ledgers
from tests.e2e.client import Load
from tests.e2e.commands import Points, kill_everything, run
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, Server

LEDGER = JOBS / "ledger.py"
PATIENT = ("--gateways", "1", "--request-timeout-ms", "60000")
CONNECTIONS = 16


def put_load_on(server: Server) -> Load:
    return Load(lambda: server.url, "/add", ledgers.chains(CONNECTIONS)).start()


def snapshots(server: Server) -> dict[str, Any]:
    """What the status says of them."""
    found: dict[str, Any] = server.status()["snapshots"]
    return found


def until_completed(server: Server, number: int) -> dict[str, Any]:
    """Wait until so many are complete."""
    report = server.until_status(lambda status: status["snapshots"]["completed"] >= number, "snapshots")
    found: dict[str, Any] = report["snapshots"]
    return found


def manifests(folder: Path) -> list[Manifest]:
    """All that are whole."""
    catalog = Catalog(FileStore(folder))
    entries = catalog.entries()
    return [entry for entry in entries if isinstance(entry, Manifest) and not catalog.missing(entry)]


def kinds(manifest: Manifest) -> set[str]:
    return {file.kind for part in manifest.parts for file in part.files}


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_periodic_ones_and_savepoints_under_load(serve: Serve, tmp_path: Path, durability: str) -> None:
    every_second = ("--snapshot-interval-s", "1", "--snapshots-kept", "2", "--durability", durability)
    server = serve(LEDGER, *PATIENT, *every_second).start("--workers", "2")
    load = put_load_on(server)
    until_completed(server, 2)
    elsewhere = tmp_path / "elsewhere"
    kept = run(server, "savepoint", "--json")
    moved = run(server, "savepoint", "--to", str(elsewhere))
    assert (kept.code, moved.code) == (0, 0)
    assert f"--restore {elsewhere}" in moved.out
    report = until_completed(server, 6)
    assert run(server, "snapshot verify").code == 0
    assert not load.at_end
    exchanges = load.stop()
    assert load.refused == report["failed"] == 0
    assert checks.failed(exchanges) == []
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0
    found = manifests(server.data_dir / "snapshots")
    periodic = [manifest for manifest in found if manifest.kind == "snapshot"]
    assert len(periodic) == 2
    assert all("delta" in kinds(manifest) for manifest in periodic)
    assert [manifest.id for manifest in found if manifest.kind == "savepoint"] == [kept.json()["id"]]
    (savepoint,) = manifests(elsewhere)
    assert (savepoint.kind, kinds(savepoint)) == ("savepoint", {"base", "channels"})
    assert len({manifest.epoch for manifest in [*found, savepoint]}) == 4


STEPS = (
    "w0@after_epoch",
    "w0@mid_flush",
    "w1@after_capture",
    "w0@mid_snapshot",
    "w1@after_snapshot",
    "w1@before_report",
)


def test_a_worker_dies_at_each_step_of_a_snapshot(serve: Serve, tmp_path: Path) -> None:
    points = Points(tmp_path / "points", *STEPS)
    # Flushed for snapshots only, so that it is that flush which is hit.
    options = (*PATIENT, "--flush-interval-ms", "60000")
    server = serve(LEDGER, *options, environment=points.environment).start("--workers", "2")
    load = put_load_on(server)
    for number, step in enumerate(STEPS, 1):
        load.until_done(50)
        points.arm(step)
        since = server.mark()
        refused = run(server, "savepoint")
        assert (refused.code, "died before its part was stored" in refused.err) == (EXIT_TRY_AGAIN, True), (
            step
        )
        assert points.fired(step)
        server.until_back("worker", int(step[1]), since)
        report = snapshots(server)
        assert (report["failed"], report["completed"]) == (number, number - 1)
        assert run(server, "savepoint").code == 0
    load.until_done(50)
    exchanges = load.stop()
    assert checks.failed(exchanges) == []
    assert ledgers.problems(server.url, exchanges) == []
    assert [manifest.epoch for manifest in manifests(server.data_dir / "snapshots")] == [2, 4, 6, 8, 10, 12]
    assert run(server, "snapshot verify").code == 0
    assert server.stop() == 0


def test_everything_dies_in_a_snapshot(serve: Serve, tmp_path: Path) -> None:
    step = "w0@mid_snapshot"
    points = Points(tmp_path / "points", step)
    options = (*PATIENT, "--snapshot-interval-s", "1")
    server = serve(LEDGER, *options, environment=points.environment).start("--workers", "2")
    load = put_load_on(server)
    until_completed(server, 1)
    points.arm(step)
    while not points.fired(step):
        load.until_done(1)
    kill_everything(server)
    record = json.loads((server.data_dir / "job.json").read_text())
    before = {manifest.epoch for manifest in manifests(server.data_dir / "snapshots")}
    server.start()
    until_completed(server, 2)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} == {0, 200}
    assert ledgers.problems(server.url, exchanges) == []
    after = {manifest.epoch for manifest in manifests(server.data_dir / "snapshots")} - before
    assert min(after) > record["epoch"] >= max(before)
    assert run(server, "snapshot verify").code == 0
    assert server.stop() == 0


def test_older_files_that_vanish_are_not_built_on(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT, "--snapshot-interval-s", "1").start("--workers", "2")
    load = put_load_on(server)
    until_completed(server, 2)
    folder = server.data_dir / "snapshots"
    shutil.rmtree(folder)

    def is_found(status: dict[str, Any]) -> bool:
        return "is missing" in (status["snapshots"]["last_failure"] or "")

    completed = server.until_status(is_found, "a failure")["snapshots"]["completed"]
    until_completed(server, completed + 2)
    exchanges = load.stop()
    assert checks.failed(exchanges) == []
    assert run(server, "snapshot verify").code == 0
    found = manifests(folder)
    assert len(found) >= 2
    assert kinds(found[0]) == {"base", "channels"}
    assert server.stop() == 0


def test_two_copies_of_a_data_folder_in_one_place(serve: Serve, tmp_path: Path) -> None:
    server = serve(LEDGER, *PATIENT, "--snapshot-dir", str(tmp_path / "kept")).start("--workers", "1")
    assert run(server, "savepoint").code == 0
    assert server.stop() == 0
    copy = serve(LEDGER, *PATIENT, "--snapshot-dir", str(tmp_path / "kept"))
    shutil.copytree(server.data_dir, copy.data_dir)
    server.start()
    copy.start()
    assert run(server, "savepoint").code == 0
    refused = run(copy, "savepoint")
    assert (refused.code, "another copy of this data folder" in refused.err) == (EXIT_CONFIG, True)
    assert "another --snapshot-dir" in refused.err
    assert [manifest.epoch for manifest in manifests(tmp_path / "kept")] == [1, 2]
    assert run(server, "snapshot verify", "--snapshot-dir", str(tmp_path / "kept")).code == 0
    assert (server.stop(), copy.stop()) == (0, 0)


UNREACHABLE = "ftp://u:s3cr3t@127.0.0.1:1/x"
WITH_SECRETS = "memory://AKIA:s3cr3t@bucket/x"


def test_a_store_that_cannot_be_reached_harms_nobody(serve: Serve) -> None:
    options = (*PATIENT, "--snapshot-interval-s", "1", "--snapshot-dir", UNREACHABLE)
    server = serve(LEDGER, *options).start("--workers", "2")
    load = put_load_on(server)
    failed = server.until_status(lambda status: status["snapshots"]["failed"], "a failure")["snapshots"]
    assert "cannot open ftp://127.0.0.1:1/x: ConnectionRefusedError" in failed["last_failure"]
    refused = run(server, "savepoint", "--to", UNREACHABLE)
    assert (refused.code, "ConnectionRefusedError" in refused.err) == (EXIT_STORAGE, True)
    assert "= help: check the address" in refused.err
    load.until_done(50)
    exchanges = load.stop()
    assert checks.failed(exchanges) == []
    assert all(process["restarts"] == 0 for process in server.status()["processes"])
    assert run(server, "savepoint", "--to", str(server.data_dir / "snapshots")).code == 0
    assert "s3cr3t" not in json.dumps(server.status()) + server.output + refused.out + refused.err
    assert server.stop() == 0


def test_whatever_a_store_raises_harms_nobody(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT).start("--workers", "2")
    for place in ("zip://x::nothing://y", "http://127.0.0.1:1/x", "github://a", "x?y://z", "/proc/nope"):
        refused = run(server, "savepoint", "--to", place)
        assert refused.code in (EXIT_STORAGE, EXIT_CONFIG), refused.err
        assert "= help: " in refused.err
    assert all(process["restarts"] == 0 for process in server.status()["processes"])
    assert server.stop() == 0


def test_the_secrets_of_a_place_are_shown_nowhere(serve: Serve) -> None:
    options = (*PATIENT, "--snapshot-interval-s", "1", "--snapshot-dir", WITH_SECRETS)
    server = serve(LEDGER, *options).start("--workers", "1")
    server.until_status(lambda status: any(_outcomes(status["snapshots"])), "an outcome")
    report = snapshots(server)
    assert report["location"] == "memory://bucket/x"
    done = run(server, "savepoint")
    said = done.out + done.err + server.output + run(server, "status").out + json.dumps(server.status())
    assert "s3cr3t" not in said
    assert server.stop() == 0


def _outcomes(report: dict[str, Any]) -> tuple[int, int]:
    return report["completed"], report["failed"]

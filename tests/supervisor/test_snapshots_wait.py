"""Snapshots while the server is changed: what waits says so, and who waits for one hears so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mini_flink.config import Settings
from mini_flink.errors import EXIT_TRY_AGAIN
from mini_flink.folder import DataFolder, Start
from mini_flink.jobs import JobTarget
from mini_flink.supervisor.events import EventRing
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.listeners import Address, Listeners
from mini_flink.supervisor.members import Origin
from mini_flink.supervisor.snapshots import HELD_UP_MS, SnapshotDirector
from mini_flink.supervisor.spec import ServerPlan
from mini_flink.transport.zmq import ZmqTransport
from mini_flink.worker.background import InlineBackground

INTERVAL_S = 60
WHY = "the server is changed by upgrade"


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[SnapshotDirector, EventRing, ServerPlan]]:
    """The director of a server whose only worker has not come up: nothing of it runs."""
    plan = ServerPlan(
        settings=Settings(snapshot_interval_s=INTERVAL_S),
        job=JobTarget.parse("job.py", directory="/"),
        job_name="job",
        workers=1,
        gateways=0,
        max_parallelism=128,
        numbers={},
        fingerprint=[],
        operator_names={},
        data_dir=str(tmp_path / "data"),
        runtime_dir=str(tmp_path),
        folder_id=0,
        generation=1,
    )
    folder = DataFolder.open(plan.data_dir, Start("job", 128, "disk"))
    transport, background, events = ZmqTransport(), InlineBackground(), EventRing()
    with socket.socket() as unbound:
        listeners = Listeners(unbound, Address("127.0.0.1", 0), inherited=True)
        fleet = Fleet(plan, folder, listeners, transport, Origin("/", {}))
        yield SnapshotDirector(plan, folder, fleet, background, events), events, plan
        fleet.close()
    transport.close()
    folder.close()


def test_one_that_is_due_and_waits_says_so_once(
    waiting: tuple[SnapshotDirector, EventRing, ServerPlan],
) -> None:
    director, events, plan = waiting
    director.step(0, serving=True)
    director.suspend(WHY)
    due_ms = INTERVAL_S * 1000
    director.step(due_ms + HELD_UP_MS - 1, serving=True)
    assert director.report()["held_up"] is None
    for now_ms in range(due_ms + HELD_UP_MS, due_ms + HELD_UP_MS + 3):
        director.step(now_ms, serving=True)
    assert director.report()["held_up"] == WHY
    assert [event["text"] for event in events.report()] == [f"a snapshot is due, and waits: {WHY}"]
    director.resume(plan)
    assert director.report()["held_up"] is None


def test_who_waits_for_a_savepoint_hears_of_the_change(
    waiting: tuple[SnapshotDirector, EventRing, ServerPlan],
) -> None:
    director, _, _ = waiting
    told: list[Any] = []
    director.ask(None, told.append, told.append, "")
    director.step(0, serving=True)
    assert told == []
    director.suspend(WHY)
    (answer,) = told
    assert (answer["ok"], answer["reason"], answer["exit_code"]) == (False, WHY, EXIT_TRY_AGAIN)

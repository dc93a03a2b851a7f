"""``--accept-inconsistent-state`` starts on a log that is damaged in its middle; else that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_flink.config import Settings
from mini_flink.core.base import Identity
from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.errors import CorruptionError
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph
from mini_flink.plan import build
from mini_flink.runners.twins import NoProgressPage
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.transport.memory import MemoryNetwork, MemoryTransport
from mini_flink.worker.background import InlineBackground
from mini_flink.worker.worker import Devices, Place, Worker


def worker(folder: Path, **settings: bool) -> Worker:
    graphs: list[JobGraph] = []
    with executing_with(graphs.append):
        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_collection([1, 2, 3, 4, 5, 6]).map(lambda value: value).key_by(lambda value: value).reduce(
            lambda one, other: one + other
        ).uid("sum")
        env.execute("salvage")
    [graph] = graphs
    plan = build(graph, 1, {node.uid: number for number, node in enumerate(graph.nodes, 1)})
    log = FileLog(folder / "log", segment_bytes=1 << 16, durable=False)
    table = LmdbTable(folder / "state", map_size_bytes=1 << 24)
    devices = Devices(log, table, MemoryTransport(MemoryNetwork()), InlineBackground())
    identity, place = Identity("w0", 1), Place(0, 0, 0, {number: uid for uid, number in plan.numbers.items()})
    configured = Settings(durability="process", batch_records=1, **settings)  # type: ignore[arg-type]
    return Worker(identity, place, plan, configured, devices, NoProgressPage(), lambda *_, **__: None)


def damage_the_second_of_several_commits(folder: Path) -> None:
    """Zeros where a power cut kept the page of a later commit, but not this one's."""
    log = FileLog(folder / "log", segment_bytes=1 << 16, durable=False)
    payloads = [payload for _, payload in log.recover(0)]
    log.close()
    assert len(payloads) > 3
    for path in (folder / "log").iterdir():
        data = path.read_bytes()
        if payloads[1] in data:
            path.write_bytes(data.replace(payloads[1], bytes(len(payloads[1])), 1))


def test_a_damaged_log_is_refused_unless_its_loss_is_accepted(tmp_path: Path) -> None:
    first = worker(tmp_path)
    first.recover()
    first.secure()
    first.open()
    for _ in range(6):
        first.turn(0.0)
    damage_the_second_of_several_commits(tmp_path)
    first.host._table.close()  # the process is gone, its log is not flushed
    refused = worker(tmp_path)
    with pytest.raises(CorruptionError):
        refused.recover()
    refused.host._table.close()
    salvaged = worker(tmp_path, accept_inconsistent_state=True)
    salvaged.recover()
    assert salvaged.secure() == 1
    salvaged.open()
    assert salvaged.close()

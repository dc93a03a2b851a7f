"""What is written takes the way of every restore: the re-shard gives each key to its owner."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from mini_flink.core.compatibility import StoredJob, stored_states
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph
from mini_flink.ids import worker_name
from mini_flink.keys import encode_key, key_group, subtask_of_group
from mini_flink.runners.generations import STATE, GenerationBuilder
from mini_flink.runners.rebuild import Before, Rebuild
from mini_flink.snapshots.catalog import find
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable
from mini_flink.state_processor import SavepointWriter
from mini_flink.values import encode
from tests.codec.sample_classes import Point
from tests.state_processor.jobs import keeping
from tests.state_processor.stored import parts_of

MAP_BYTES = 1 << 26
GROUPS = 128
DAY = datetime.date(2024, 2, 29)
KEYS = [f"k{number}" for number in range(50)] + ["long" * 700]


def graph() -> JobGraph:
    graphs: list[JobGraph] = []
    with executing_with(graphs.append):
        keeping.build()
    return graphs[0]


def rebuild(path: str, workers: int) -> Rebuild:
    _, manifest = find(path, "/", "/")
    states = stored_states(
        manifest.states,
        operators=manifest.operators,
        fingerprint=manifest.fingerprint,
        parallelisms=manifest.parallelisms,
        workers=manifest.workers,
        max_parallelism=manifest.max_parallelism,
    )
    job = StoredJob(manifest.job, manifest.max_parallelism, states, manifest.fingerprint)
    before = Before(job, manifest.operators, manifest.next_operator, manifest.parallelisms)
    return Rebuild(graph(), before, workers, {})


@pytest.mark.parametrize("workers", [1, 3])
def test_each_worker_gets_the_state_of_its_keys(tmp_path: Path, workers: int) -> None:
    path = (
        SavepointWriter.new_savepoint("keeping")
        .with_operator("days", keeping.DAYS, {key: {DAY: 3} for key in KEYS})
        .with_operator("keep", keeping.NUMBERS, {key: [len(key), 1] for key in KEYS})
        .with_operator("keep", keeping.LAST, {key: Point(1, key) for key in KEYS})
        .write(tmp_path / "savepoints")
        .path
    )
    made, sources = rebuild(path, workers), parts_of(path)
    builder = GenerationBuilder(tmp_path / "g2", 2, workers, MAP_BYTES)
    made.copy(sources, builder)
    made.close(sources, 7, builder)
    builder.close()
    expected: list[dict[bytes, bytes]] = [{} for _ in range(workers)]
    for key in KEYS:
        encoded = encode_key(key)
        for uid, name, entry, value in (
            ("days", "days", encode_key(DAY), encode(3)),
            ("keep", "numbers", b"", encode(len(key)) + encode(1)),
            ("keep", "last", b"", encode(Point(1, key))),
        ):
            target = made.comparison.state_map()[uid, name]
            assert target is not None
            group = key_group(encoded, GROUPS)
            owner = subtask_of_group(group, GROUPS, target.parallelism) % workers
            expected[owner][layout.state_prefix(group, target.operator, target.index) + encoded + entry] = (
                value
            )
    assert [state_of(tmp_path / "g2" / worker_name(worker)) for worker in range(workers)] == expected


def state_of(folder: Path) -> dict[bytes, bytes]:
    """All keyed state in the table of a worker that has not been started yet."""
    table = LmdbTable(folder / STATE, map_size_bytes=MAP_BYTES, generation=2)
    try:
        return dict(table.scan(layout.STATE))
    finally:
        table.close()

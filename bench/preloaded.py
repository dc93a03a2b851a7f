"""Data folders that hold as much state as is wanted before the server starts, and what they hold afterwards.

A server makes the folder and leaves it; then its tables are made anew, as a re-shard of one old worker that
holds the ballast: the way that a restore goes too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.servers import Kind, serving
from mini_flink import values
from mini_flink.config import Settings
from mini_flink.core.compatibility import StoredJob
from mini_flink.folder import generation_folder, read_job, worker_folder
from mini_flink.graph import JobGraph
from mini_flink.ids import worker_name
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.keys import encode_key, key_group
from mini_flink.runners.generations import STATE, GenerationBuilder
from mini_flink.runners.rebuild import Before, Rebuild
from mini_flink.runners.stored import states_in
from mini_flink.state import layout
from mini_flink.state.lmdb import LmdbTable

KIND = Kind("heavy_total", "total", "bench.heavy_total", ("--durability", "process"))
BALLAST_BYTES = 400
_MAP_BYTES = Settings().state_map_bytes


def keys_in(megabytes: int) -> int:
    """How many keys make so much state: ``k0``, ``k1``, …"""
    return megabytes * 1_000_000 // BALLAST_BYTES


def fill(folder: Path, megabytes: int, options: tuple[str, ...]) -> None:
    """So much state for the server of ``KIND`` that will be started on ``folder`` with these options."""
    with serving(KIND, folder, options) as first:
        data_dir = first.data_dir
    _make_anew(str(data_dir), keys_in(megabytes))


def total_of(data_dir: Path) -> int:
    """The sum of all totals in the folder of a server that has ended."""
    total = 0
    with ExitStack() as stack:
        for table in _tables(str(data_dir), stack):
            total += sum(values.decode(value)[0] for _, value in table.scan(layout.STATE))
    return total


def _tables(data_dir: str, stack: ExitStack) -> list[LmdbTable]:
    record = _record(data_dir)
    tables = []
    for worker in range(record["workers"]):
        folder = Path(worker_folder(data_dir, record["generation"], worker_name(worker)))
        table = LmdbTable(folder / STATE, map_size_bytes=_MAP_BYTES, generation=record["generation"])
        stack.callback(table.close)
        tables.append(table)
    return tables


def _record(data_dir: str) -> dict[str, Any]:
    record = read_job(data_dir)
    if record is None:
        raise RuntimeError(f"{data_dir} holds no job")
    return record


def _make_anew(data_dir: str, count: int) -> None:
    record = _record(data_dir)
    graph = load_graph(
        JobTarget.parse(KIND.module, directory=os.fspath(Path(__file__).parent.parent)), quiet=True
    )
    with ExitStack() as stack:
        tables = _tables(data_dir, stack)
        registry = list(tables[0].scan(layout.REGISTRY))
        states = states_in(tables, record["operators"], record["max_parallelism"])
    job = StoredJob(graph.name, graph.max_parallelism, states, graph.fingerprint())
    before = Before(job, record["operators"], record["next_operator"], {})
    rebuild = Rebuild(graph, before, record["workers"], {}, is_same_job=True)
    sources = [_Ballast(graph, record["operators"]["total"], registry, count)]
    folder = Path(generation_folder(data_dir, record["generation"]))
    shutil.rmtree(folder)
    builder = GenerationBuilder(folder, record["generation"], record["workers"], _MAP_BYTES)
    try:
        rebuild.copy(sources, builder)
        rebuild.close(sources, record["epoch"], builder)
    finally:
        builder.close()


class _Ballast:
    """The old worker: ``count`` keys with nothing in their totals, by key group and key."""

    def __init__(
        self, graph: JobGraph, operator: int, registry: list[tuple[bytes, bytes]], count: int
    ) -> None:
        self._operator = operator
        self._registry = registry
        self._groups: list[list[int]] = [[] for _ in range(graph.max_parallelism)]
        for number in range(count):
            self._groups[key_group(encode_key(f"k{number}"), graph.max_parallelism)].append(number)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        if prefix == layout.STATE:
            yield from self._state()
        elif prefix == layout.REGISTRY:
            yield from self._registry

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002
        return iter(())

    def _state(self) -> Iterator[tuple[bytes, bytes]]:
        value = values.encode([0, b"b" * BALLAST_BYTES])
        for group, numbers in enumerate(self._groups):
            prefix = layout.state_prefix(group, self._operator, 0)
            for key in sorted(encode_key(f"k{number}") for number in numbers):
                yield prefix + key, value

"""What a start makes of the state that it finds, before the first process begins.

Usually nothing: workers, parallelisms and the job are as they were, and no table is opened. Else the state
moves into the next generation: from a snapshot (``restore``), or, for another number of workers or a changed
job, from what the old workers have left; never through an older snapshot. Until the new generation is whole
and durable, what is there stays as it is. Called by ``runners.server``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mini_flink import console
from mini_flink.config import Settings
from mini_flink.core.compatibility import StoredJob
from mini_flink.folder import DataFolder
from mini_flink.graph import JobGraph
from mini_flink.ids import worker_name
from mini_flink.runners.generations import STATE, settle
from mini_flink.runners.rebuild import Before, Rebuild
from mini_flink.runners.restore import restore, restore_after_power_cut
from mini_flink.runners.stored import states_in
from mini_flink.runners.succession import succeed
from mini_flink.state.lmdb import LmdbTable
from mini_flink.supervisor.cores import cores_at_hand
from mini_flink.supervisor.words import count


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one start is told to do with the state that it finds: options that are no settings.

    ``restore`` names a snapshot; ``yes``: it may take the place of newer state. ``allow_dropped_state``: what
    is stored for operators that the job has no more may go, and records for them.
    """

    restore: str | None = None
    yes: bool = False
    allow_dropped_state: bool = False


def arrive(folder: DataFolder, graph: JobGraph, settings: Settings, arrival: Arrival, directory: str) -> None:
    """Make the folder hold what ``graph`` is to go on with, or raise why that cannot be.

    ``directory`` is where the command was typed.
    """
    folder.remove_older_generations()
    if arrival.restore is not None:
        restore(
            folder,
            graph,
            settings,
            arrival.restore,
            directory,
            yes=arrival.yes,
            allow_dropped=arrival.allow_dropped_state,
        )
    elif folder.is_inconsistent and not settings.accept_inconsistent_state:
        restore_after_power_cut(folder, graph, settings, allow_dropped=arrival.allow_dropped_state)
    if folder.holds_state and not _is_as_recorded(folder, graph, settings):
        fit(folder, graph, settings, allow_dropped=arrival.allow_dropped_state)


def _is_as_recorded(folder: DataFolder, graph: JobGraph, settings: Settings) -> bool:
    record = folder.record
    return settings.workers in (None, record.workers) and graph.fingerprint() == record.fingerprint


def fit(folder: DataFolder, graph: JobGraph, settings: Settings, *, allow_dropped: bool) -> None:
    """Hold the job against what the workers have left, and move their state if it belongs elsewhere now.

    IncompatibleError with every reason why it does not fit.
    """
    record = folder.record
    workers = settings.workers or record.workers
    with ExitStack() as stack:
        tables = [_final(folder, index, settings, stack) for index in range(record.workers)]
        states = states_in(tables, record.operators, record.max_parallelism)
        stored = StoredJob(record.job, record.max_parallelism, states, record.fingerprint)
        before = Before(stored, record.operators, record.next_operator, record.parallelisms)
        rebuild = Rebuild(graph, before, workers, record.parallelisms, allow_dropped=allow_dropped)
        if not _moves(rebuild, folder, tables):
            folder.set_parallelisms(rebuild.parallelisms)
            return
        began_s = time.monotonic()
        succeed(folder, graph, rebuild, tables, settings, epoch=record.epoch)
        way = f"from {record.workers} to {count(workers, 'worker')}" if workers != record.workers else ""
        seconds = time.monotonic() - began_s
        said = f"state moved {way or 'to where the changed job has it'} in {seconds:.1f} s"
        console.event("info", said, name="state.moved", workers=workers, seconds=seconds)


def _final(folder: DataFolder, index: int, settings: Settings, stack: ExitStack) -> LmdbTable:
    """All that an old worker has committed, in its table."""
    record, name = folder.record, worker_name(index)
    place = Path(folder.process_folder(name))
    gateways = settings.gateways or cores_at_hand()
    settle(place, name, record.generation, record.workers, gateways, settings)
    table = LmdbTable(place / STATE, map_size_bytes=settings.state_map_bytes, generation=record.generation)
    stack.callback(table.close)
    return table


def _moves(rebuild: Rebuild, folder: DataFolder, tables: Sequence[LmdbTable]) -> bool:
    """Whether anything stored would be looked for elsewhere, or is to be changed or dropped."""
    if rebuild.plan.workers != folder.record.workers:
        return True
    for state in rebuild.comparison.states:
        is_dropped = state.outcome == "dropped" and bool(
            state.remedy
        )  # where nothing is stored there is none
        if is_dropped or state.outcome in ("moved", "migrated"):
            return True
    return rebuild.reshard(tables).reroutes()

"""``check``: what a job is made of, and what would become of the state that another version has stored.

The job is built and opened once in this process, as a worker would do it. What is stored is only read, also
while a server runs on it: of a data folder the workers' tables, which lack the last second before a crash
(that is in their logs). Called by the command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mini_flink import console
from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.core.compatibility import (
    Comparison,
    DeclaredJob,
    DeclaredState,
    StoredJob,
    compare,
    stored_states,
)
from mini_flink.errors import FolderError, Location
from mini_flink.folder import default_folder, read_job, worker_folder
from mini_flink.graph import JobGraph, Node
from mini_flink.ids import worker_name
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.operators.declared import declared_states
from mini_flink.plan import Plan
from mini_flink.runners.rebuild import numbered
from mini_flink.runners.stored import states_in
from mini_flink.snapshots.catalog import find
from mini_flink.snapshots.location import default_location, is_url
from mini_flink.source import short_path
from mini_flink.state.lmdb import LmdbTable
from mini_flink.supervisor.cores import cores_at_hand
from mini_flink.supervisor.words import count

MAP_BYTES = 64 << 30


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, as plain data for people and programs, and what keeps the job from being started."""

    report: dict[str, Any]
    refusal: FolderError | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What is stored and where; the numbers of its operators and workers, and what a rescale had set."""

    place: str
    job: StoredJob
    operators: Mapping[str, int]
    parallelisms: Mapping[str, int]
    workers: int


def check(settings: Settings, job: JobTarget, *, against: str | None, allow_dropped: bool) -> Checked:
    """Build the job, and compare it with ``against``: a snapshot or a data folder, in any of their names.

    With None it is compared with its own data folder, if that is there. What the job prints goes to stderr.
    """
    with redirect_stdout(sys.stderr):
        graph = load_graph(job, quiet=False)
    data_dir = os.path.join(job.directory, settings.data_dir or default_folder(graph.name))
    snapshots = default_location(settings.snapshot_dir, data_dir)
    found = _own_folder(data_dir) if against is None else _named(against, job.directory, snapshots)
    plan = _plan(graph, settings, found)
    with redirect_stdout(sys.stderr):
        states = declared_states(plan)
    report = _job_report(graph, plan, states)
    if found is None:
        return Checked({**report, "against": None, "would_start": True}, None)
    now = DeclaredJob(graph.name, graph.max_parallelism, tuple(states), graph.fingerprint())
    comparison = compare(found.job, now)
    report |= {"against": found.place} | _comparison_report(comparison, allow_dropped)
    return Checked(report, comparison.refusal(allow_dropped=allow_dropped))


def _plan(graph: JobGraph, settings: Settings, found: _Found | None) -> Plan:
    """As a start would make it; what a rescale had set stays, for stages that are still there."""
    known = found.operators if found else {}
    numbers, _ = numbered(graph, known, max(known.values(), default=0) + 1)
    workers = settings.workers or (found.workers if found else cores_at_hand())
    declared = plans.build(graph, workers, numbers)
    heads = {stage.uid for stage in declared.stages.values()}
    still = {uid: number for uid, number in found.parallelisms.items() if uid in heads} if found else {}
    return plans.build(graph, workers, numbers, still) if still else declared


# --- what is stored ---------------------------------------------------------------------------------------


def _own_folder(path: str) -> _Found | None:
    record = read_job(path)
    return None if record is None or record["refused"] else _of_folder(path, record)


def _named(against: str, directory: str, snapshots: str) -> _Found:
    path = os.path.join(directory, against)
    record = read_job(path)
    if record is not None:
        return _of_folder(path, record)
    return _of_snapshot(against, directory, snapshots)


def _of_snapshot(text: str, directory: str, snapshots: str) -> _Found:
    store, manifest = find(text, directory, snapshots, console.event)
    place = f"{manifest.title} in {_shown(store.location)}"
    store.close()
    states = stored_states(
        manifest.states,
        operators=manifest.operators,
        fingerprint=manifest.fingerprint,
        parallelisms=manifest.parallelisms,
        workers=manifest.workers,
        max_parallelism=manifest.max_parallelism,
    )
    job = StoredJob(manifest.job, manifest.max_parallelism, states, manifest.fingerprint)
    place += f", {count(manifest.workers, 'worker')}"
    return _Found(place, job, manifest.operators, manifest.parallelisms, manifest.workers)


def _shown(location: str) -> str:
    return location if is_url(location) else short_path(location)


def _of_folder(path: str, record: Mapping[str, Any]) -> _Found:
    with ExitStack() as stack:
        tables = [_open_table(path, record, worker, stack) for worker in range(record["workers"])]
        present = [table for table in tables if table is not None]
        states = states_in(present, record["operators"], record["max_parallelism"])
    job = StoredJob(record["job"], record["max_parallelism"], states, record["fingerprint"])
    place = f"data folder {short_path(os.path.normpath(path))}, {count(record['workers'], 'worker')}"
    return _Found(place, job, record["operators"], record.get("parallelisms", {}), record["workers"])


def _open_table(path: str, record: Mapping[str, Any], worker: int, stack: ExitStack) -> LmdbTable | None:
    folder = _table_folder(path, record["generation"], worker)
    if not (folder / "data.mdb").exists():
        return None
    table = LmdbTable(folder, map_size_bytes=MAP_BYTES, generation=record["generation"])
    stack.callback(table.close)
    return table


def _table_folder(path: str, generation: int, worker: int) -> Path:
    name = worker_name(worker)
    folder = worker_folder(path, generation, name)
    # Until the next start moves them, the workers' folders of format 1 stand beside job.json.
    return Path(folder if os.path.isdir(folder) else os.path.join(path, name), "state")


# --- the report -------------------------------------------------------------------------------------------


def _job_report(graph: JobGraph, plan: Plan, states: list[DeclaredState]) -> dict[str, Any]:
    return {
        "job": graph.name,
        "made_at": _place(graph.location),
        "workers": plan.workers,
        "max_parallelism": plan.max_parallelism,
        "steps": [_step(graph, plan, node) for node in graph.nodes],
        "states": [
            {
                "operator": state.uid,
                "state": state.name,
                "kind": state.kind,
                "type": state.type_text or None,
                "parallelism": state.parallelism,
                "migrates_from": ", ".join(old or "undeclared" for old in state.migrations) or None,
            }
            for state in states
        ],
        "warnings": list(_warnings(graph, {state.uid for state in states})),
    }


def _step(graph: JobGraph, plan: Plan, node: Node) -> dict[str, Any]:
    stage = next((stage for stage in plan.stages.values() if node in stage.nodes), None)
    reads = (graph.nodes[edge.source].uid + (" by key" if edge.selector else "") for edge in node.inputs)
    return {
        "uid": node.uid,
        "kind": node.kind,
        "reads": ", ".join(reads) or None,
        "parallelism": stage.parallelism if stage else None,
        "stage": stage.uid if stage else None,
        "made_at": _place(node.location),
    }


def _place(location: Location) -> str:
    return f"{short_path(location.file)}:{location.line}"


def _warnings(graph: JobGraph, stateful: set[str]) -> Iterator[str]:
    for node in graph.nodes:
        if node.uid in stateful and not node.has_uid:
            yield (
                f"operator {node.uid!r} ({_place(node.location)}) keeps state and has no uid of its own: a "
                'change of the job may change the generated one. Name it: .uid("…")'
            )


def _comparison_report(comparison: Comparison, allow_dropped: bool) -> dict[str, Any]:
    problems = comparison.problems(allow_dropped=allow_dropped)
    return {
        "state_changes": [
            {
                "operator": finding.uid,
                "state": finding.name,
                "outcome": finding.outcome,
                "detail": finding.detail or None,
            }
            for finding in comparison.states
        ],
        "operator_changes": [
            {"uid": one.uid, "kind": one.kind, "change": one.change, "detail": one.detail or None}
            for one in comparison.operators
            if one.change != "kept"
        ],
        "would_start": not problems,
        "problems": [{"problem": problem.text, "remedy": problem.remedy} for problem in problems],
    }

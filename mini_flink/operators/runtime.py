"""Tasks: a stage's subtasks in one worker, as nested closures that are built once.

Owns: the wiring of operators and their life (open, process, close). Never: undoing a record, commits,
channels; whoever calls ``process`` does that. Called by the worker's engine, the local runner and the test
harness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from mini_flink.console import current
from mini_flink.datastream.state import StateDescriptor
from mini_flink.errors import DecodeError
from mini_flink.graph import Node
from mini_flink.metrics import Registry
from mini_flink.operators.base import CurrentRecord, Emit, KeyedStore, Output, StateRegistry
from mini_flink.operators.context import States, WorkerRuntimeContext
from mini_flink.operators.operator import Operator, Timing
from mini_flink.operators.outlets import build_outlets
from mini_flink.operators.registry import FACTORIES
from mini_flink.plan import Plan, Stage
from mini_flink.records import Origin
from mini_flink.values import decode

TIMED_EVERY = 61
"""One record of so many is timed operator by operator; a prime, so that few patterns fall in with it."""


class Task:
    """A stage's subtasks in one worker: ``open``, then ``process`` for each record, ``close`` at the end."""

    def __init__(
        self,
        stage: Stage,
        record: CurrentRecord,
        heads: Mapping[int, Emit],
        operators: list[Operator],
        timing: Timing,
    ) -> None:
        self.stage = stage
        self._timing = timing
        self._until_timed = 0
        self._record = record
        self._heads = heads
        self._operators = operators
        self._request_id = record.request_id

    def open(self) -> None:
        """Opens the user's functions, once per subtask; ``JobError`` with the user's line if one raises."""
        for operator in self._operators:
            operator.open()

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None:
        """Runs one record through the stage.

        What it puts out goes to the output meanwhile. ``OperatorFailure`` if user code raised: the caller
        then undoes the record's changes and drops its outputs.
        """
        record = self._record
        record.begin(key, origin)
        current.request = None if origin is None else self._request_id
        if self._until_timed:
            self._until_timed -= 1
        else:
            self._until_timed = TIMED_EVERY - 1
            self._timing.on = True
        try:
            self._heads[subtask](self._decoded(value))
        finally:
            record.end()
            self._timing.on = False
            current.operator = ""
            current.request = None

    def _decoded(self, value: bytes) -> object:
        try:
            return decode(value)
        except DecodeError as error:
            self._operators[0].fail(error)

    def close(self) -> None:
        """Closes the user's functions, once per subtask."""
        for operator in self._operators:
            operator.close()

    def declared_states(self) -> Iterator[tuple[Node, StateDescriptor[Any]]]:
        """The states that operators have asked for, in their order, once per subtask."""
        for operator in self._operators:
            for descriptor in operator.states.declared:
                yield operator.node, descriptor

    def subtasks(self) -> Iterator[tuple[int, list[Operator]]]:
        """The subtasks that run here, each with its operators in their order, the head first."""
        return ((subtask, list(of)) for subtask, of in groupby(self._operators, key=attrgetter("subtask")))

    def statistics(self) -> dict[str, dict[str, int]]:
        """Per operator uid: records in, records out and failures, summed over this worker's subtasks."""
        totals: dict[str, dict[str, int]] = {}
        for operator in self._operators:
            total = totals.setdefault(operator.node.uid, {"records_in": 0, "records_out": 0, "failures": 0})
            total["records_in"] += operator.counts.records_in
            total["records_out"] += operator.counts.records_out
            total["failures"] += operator.counts.failures
        return totals


def build_task(
    plan: Plan,
    stage: Stage,
    worker_index: int,
    store: KeyedStore,
    registry: StateRegistry,
    output: Output,
    *,
    folder_id: int = 0,
    metrics: Registry | None = None,
) -> Task:
    """The subtasks of a stage that a worker runs, not yet opened; ``folder_id`` goes into request ids.

    What users count goes into ``metrics``.
    """
    record, timing = CurrentRecord(plan.max_parallelism, folder_id), Timing()
    builder = _Builder(plan, stage, record, store, registry, output, timing, metrics or Registry())
    heads = {subtask: builder.subtask(subtask) for subtask in stage.subtasks_of(worker_index, plan.workers)}
    return Task(stage, record, heads, builder.operators, timing)


class _Builder:
    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        record: CurrentRecord,
        store: KeyedStore,
        registry: StateRegistry,
        output: Output,
        timing: Timing,
        metrics: Registry,
    ) -> None:
        self.operators: list[Operator] = []
        self._timing = timing
        self._metrics = metrics
        self._plan = plan
        self._stage = stage
        self._record = record
        self._store = store
        self._registry = registry
        self._output = output

    def subtask(self, subtask: int) -> Emit:
        """The head's callable: operators are built from the leaves, since each needs what follows it."""
        entries: dict[int, Emit] = {}
        operators: list[Operator] = []
        for node in reversed(self._stage.nodes):
            operator = self._operator(node, subtask)
            links = [
                (link, entries[link.target.id] if link.chained else None)
                for link in self._plan.links[node.id]
            ]
            downstream = build_outlets(operator, links, subtask, self._plan.max_parallelism)
            entries[node.id] = operator.entry(FACTORIES[node.kind](operator, downstream))
            operators.append(operator)
        self.operators += reversed(operators)
        return entries[self._stage.head.id]

    def _operator(self, node: Node, subtask: int) -> Operator:
        number, parallelism = self._plan.numbers[node.uid], self._stage.parallelism
        states = States(node, number, parallelism, self._record, self._store, self._registry)
        runtime = WorkerRuntimeContext(
            node, subtask, parallelism, self._plan.max_parallelism, states, self._metrics
        )
        return Operator(node, number, runtime, states, self._record, self._output, self._timing)

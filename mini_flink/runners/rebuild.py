"""A generation's folders from what older workers, or a snapshot, have left: for rescale, upgrade, restore.

Owns the way from "here is what is stored" and "this is the job" to new worker folders: operator numbers, what
becomes of each state, the copy, the tail. Touches nothing of the old ones; runs no user code but ``open`` and
``close`` of functions (to learn which states a changed job declares) and migrations. Called by the
resharder's process while a server serves, and by ``runners.server`` before one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mini_flink import plan as plans
from mini_flink.core.backlog import Source
from mini_flink.core.compatibility import Comparison, DeclaredJob, DeclaredState, StoredJob, compare
from mini_flink.core.reshard import Reshard, TargetState
from mini_flink.errors import FolderError
from mini_flink.folder import MAX_OPERATOR_NUMBER
from mini_flink.graph import JobGraph
from mini_flink.operators.declared import declared_states
from mini_flink.plan import Plan
from mini_flink.runners.generations import GenerationBuilder
from mini_flink.state import layout

APPLY_ITEMS = 20_000


@dataclass(frozen=True, slots=True)
class Before:
    """What there is to go on with: the stored job, its operators' numbers, and what a rescale had set."""

    job: StoredJob
    operators: Mapping[str, int]
    next_operator: int
    parallelisms: Mapping[str, int]


class Rebuild:
    """One job on ``workers``. ``is_same_job``: its code is that which stored the state. ``declared``: what an
    earlier look at the same job has found, so that nobody's ``open`` runs again.

    Raises FolderError with all reasons if the state does not fit, JobError if the job makes no plan.
    """

    def __init__(
        self,
        graph: JobGraph,
        before: Before,
        workers: int,
        parallelisms: Mapping[str, int],
        *,
        allow_dropped: bool = False,
        is_same_job: bool = False,
        declared: Sequence[DeclaredState] | None = None,
    ) -> None:
        self._graph = graph
        self._before = before
        self._allow_dropped = allow_dropped
        self.operators, self.next_operator = numbered(graph, before.operators, before.next_operator)
        self.parallelisms = self._still_there(workers, parallelisms)
        self.plan: Plan = plans.build(graph, workers, self.operators, self.parallelisms)
        if is_same_job:
            self.declared = _unchanged(before.job, self.plan)
        else:
            self.declared = tuple(declared_states(self.plan) if declared is None else declared)
        now = DeclaredJob(graph.name, graph.max_parallelism, self.declared, graph.fingerprint())
        self.comparison: Comparison = compare(before.job, now)
        refusal = self.comparison.refusal(allow_dropped=allow_dropped or is_same_job)
        if refusal is not None:
            raise refusal

    def _still_there(self, workers: int, parallelisms: Mapping[str, int]) -> dict[str, int]:
        """Without what a rescale had once set of stages that the job has no more."""
        declared = plans.build(self._graph, workers, self.operators)
        gone = self._before.parallelisms.keys() - {stage.uid for stage in declared.stages.values()}
        return {uid: count for uid, count in parallelisms.items() if uid not in gone}

    def moves_as(self, other: Rebuild) -> bool:
        """Whether what was copied by the other is what this one would have copied."""
        return self._places() == other._places()

    def _places(self) -> dict[tuple[str, str], tuple[int, str, str, bool] | None]:
        def place_of(target: TargetState | None) -> tuple[int, str, str, bool] | None:
            if target is None:
                return None
            return target.index, target.kind, target.type_text, target.migrate is not None

        return {state: place_of(target) for state, target in self.comparison.state_map().items()}

    def findings(self) -> list[dict[str, Any]]:
        """What becomes of each state, for people and programs."""
        return [
            {"operator": one.uid, "state": one.name, "outcome": one.outcome, "detail": one.detail}
            for one in self.comparison.states
        ]

    def reshard(self, sources: Sequence[Source]) -> Reshard:
        """The machine that moves what is in ``sources``."""
        return Reshard(
            sources,
            self.plan,
            operators=self.operators,
            states=self.comparison.state_map(),
            old_operators=self._before.operators,
            drop_undeliverable=self._allow_dropped,
        )

    def copy(self, sources: Sequence[Source], builder: GenerationBuilder) -> None:
        """The bulk: state and dead letters of all sources."""
        for run in self.reshard(sources).all_runs():
            builder.put(run.worker, run.items)

    def copy_again(
        self, sources: Sequence[Source], changed: Sequence[Iterable[bytes]], builder: GenerationBuilder
    ) -> int:
        """What has changed in each source since ``copy``; how many keys that were."""
        reshard, count = self.reshard(sources), 0
        for index, keys in enumerate(changed):
            batches: dict[int, list[tuple[bytes, bytes | None]]] = {}
            for worker, key, value in reshard.tail(index, keys):
                count += 1
                batch = batches.setdefault(worker, [])
                batch.append((key, value))
                if len(batch) >= APPLY_ITEMS:
                    builder.apply(worker, batches.pop(worker))
            for worker, batch in batches.items():
                builder.apply(worker, batch)
        return count

    def close(self, sources: Sequence[Source], epoch: int, builder: GenerationBuilder) -> None:
        """What was under way, the positions and the registries; then everything is there, durable."""
        for worker, key, value in self.reshard(sources).closing_items():
            builder.put(worker, [(key, value)])
        for worker in range(self.plan.workers):
            builder.put(worker, [(layout.EPOCH, epoch.to_bytes(8, "big"))])
        builder.finish()


def numbered(graph: JobGraph, known: Mapping[str, int], following: int) -> tuple[dict[str, int], int]:
    """All operators' numbers, old and new, and the next one to be given."""
    numbers = dict(known)
    for node in graph.nodes:
        if node.uid not in numbers:
            numbers[node.uid] = following
            following += 1
    if following - 1 > MAX_OPERATOR_NUMBER:
        raise FolderError(
            f"this job has had more than {MAX_OPERATOR_NUMBER} operators",
            help="start it in a new --data-dir",
        )
    return numbers, following


def _unchanged(stored: StoredJob, plan: Plan) -> tuple[DeclaredState, ...]:
    """The same code declares the same states: nobody's ``open`` has to run for it."""
    parallelism = {stage.uid: stage.parallelism for stage in plan.stages.values()}
    states = {(state.uid, state.name): state for state in stored.states if state.uid in parallelism}
    return tuple(
        DeclaredState(
            uid, plan.numbers[uid], name, state.kind, state.type_text, parallelism[uid], migrations={}
        )
        for (uid, name), state in states.items()
    )

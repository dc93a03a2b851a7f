"""Which workers own the keys that a question is about: the others need not be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mini_flink.keys import key_group, subtask_of_group
from mini_flink.state.position import Position
from mini_flink.supervisor.spec import ServerPlan


def all_workers(plan: ServerPlan, _question: Mapping[str, Any]) -> Iterable[int]:
    """Each has a part of what is asked about."""
    return range(plan.workers)


def owners_of(plan: ServerPlan, question: Mapping[str, Any]) -> Iterable[int]:
    """Who owns the key, or the place where a page begins; UsageError if that is none.

    Of an operator that is none the first worker tells which there are: it has a subtask of each.
    """
    parallelisms = _parallelisms(plan)
    uid = question.get("operator")
    if question.get("do") == "scan":
        group = Position.read(question.get("after")).group
    else:
        group = key_group(question["key"], plan.max_parallelism)
    if uid is not None and (uid not in parallelisms or group >= plan.max_parallelism):
        return {0}
    wanted = parallelisms.values() if uid is None else [parallelisms[uid]]
    return {subtask_of_group(group, plan.max_parallelism, each) % plan.workers for each in wanted}


def _parallelisms(plan: ServerPlan) -> dict[str, int]:
    """By uid; an operator with state always heads its stage."""
    default = min(plan.workers, plan.max_parallelism)
    return {entry[0]: plan.parallelisms.get(entry[0]) or entry[3] or default for entry in plan.fingerprint}

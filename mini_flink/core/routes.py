"""Where what was made under one plan belongs under another: operators by uid, keys by their group.

Two plans of one data folder share ``max_parallelism``, and with it the group of every key. All else may
differ: operator numbers, parallelisms, the number of workers, the stages. Called by ``reshard`` and
``backlog``.
"""

from __future__ import annotations

from collections.abc import Mapping

from mini_flink import wire
from mini_flink.keys import key_group, subtask_of_group
from mini_flink.plan import Plan, Stage


class Routes:
    """From the operator numbers in ``old_operators`` into ``plan``; both name operators by uid."""

    def __init__(self, plan: Plan, old_operators: Mapping[str, int], operators: Mapping[str, int]) -> None:
        self.plan = plan
        self._uids = {number: uid for uid, number in old_operators.items()}
        self._operators = operators
        self._workers: dict[int, list[int]] = {}

    def uid(self, old_number: int) -> str:
        """The name of an operator, for people too."""
        return self._uids.get(old_number, f"number {old_number}")

    def operator(self, old_number: int) -> int:
        """Its number now; 0, which is nobody's, if it has none any more."""
        return self._operators.get(self.uid(old_number), 0)

    def stage(self, old_number: int) -> Stage | None:
        """The stage that its records go to now; None if no stage begins there any more."""
        return self.plan.stages.get(self.operator(old_number))

    def workers(self, parallelism: int) -> list[int]:
        """For each key group the worker that has it at this parallelism."""
        workers = self._workers.get(parallelism)
        if workers is None:
            plan = self.plan
            groups = range(plan.max_parallelism)
            subtasks = (subtask_of_group(group, plan.max_parallelism, parallelism) for group in groups)
            workers = self._workers[parallelism] = [subtask % plan.workers for subtask in subtasks]
        return workers

    def subtask(self, stage: Stage, subtask: int, key: bytes | None) -> int:
        """The subtask of ``stage`` that a record is for which was for ``subtask`` and has ``key``."""
        if subtask == wire.FAILED_BEFORE_ROUTING:
            return subtask
        if key is None:
            return subtask % stage.parallelism
        most = self.plan.max_parallelism
        return subtask_of_group(key_group(key, most), most, stage.parallelism)

"""Which states a job declares, and how each makes what was stored by an older version its own.

Owns: finding that out by opening the user's functions once, on a store that nobody keeps; and migrations as
functions on stored bytes. Never: comparing (``core.compatibility``), reading or writing what is stored.
Called by whoever restores a job, and by the command ``check``.
"""

# ruff: noqa: ARG002 - the registry and the output that stand in for a worker's do nothing

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from mini_flink.core.compatibility import DeclaredState
from mini_flink.datastream.state import ListStateDescriptor, Migration, StateDescriptor
from mini_flink.errors import JobError, Location, MigrationError, MiniFlinkError
from mini_flink.failures import summary
from mini_flink.graph import Node
from mini_flink.operators.failure import USER_ERRORS, is_ours
from mini_flink.operators.runtime import Task, build_task
from mini_flink.operators.unawaited import UNAWAITED, refuse_unawaited
from mini_flink.plan import Plan
from mini_flink.source import users_frames
from mini_flink.state.memory import MemoryDisk, MemoryTable
from mini_flink.state.overlay import Overlay
from mini_flink.values import decode, decode_many, encode


def declared_states(plan: Plan) -> list[DeclaredState]:
    """The states of all operators, in the order in which each operator asks for them.

    One subtask of each stage is opened and closed, as in a worker. ``JobError`` with the user's line if an
    ``open`` raises, or if an operator declares one name as two different states.
    """
    alone = replace(
        plan, workers=plan.max_parallelism
    )  # so that the first worker has the first subtasks only
    store, registry, output = Overlay(MemoryTable(MemoryDisk())), _AnyState(), _NoOutput()
    tasks = [build_task(alone, stage, 0, store, registry, output) for stage in plan.stages.values()]
    opened: list[Task] = []
    try:
        for task in tasks:
            task.open()
            opened.append(task)
    finally:
        for task in opened:
            task.close()
    return [state for task in tasks for state in _states_of(task, plan)]


def _states_of(task: Task, plan: Plan) -> Iterable[DeclaredState]:
    found: dict[tuple[str, str], DeclaredState] = {}
    for node, descriptor in task.declared_states():
        state = DeclaredState(
            uid=node.uid,
            operator=plan.numbers[node.uid],
            name=descriptor.name,
            kind=descriptor.kind,
            type_text=descriptor.type_text,
            parallelism=task.stage.parallelism,
            migrations=_migrations(node.uid, descriptor),
        )
        before = found.setdefault((node.uid, descriptor.name), state)
        found[node.uid, descriptor.name] = _joined(before, state, node)
    return found.values()


def _joined(before: DeclaredState, state: DeclaredState, node: Node) -> DeclaredState:
    """A state that is asked for twice; two states must not share a name."""
    if (before.kind, before.type_text) != (state.kind, state.type_text):
        raise JobError(
            f"operator {node.name!r} declares the state {state.name!r} twice, as {before.describe()} and as "
            f"{state.describe()}",
            help="give one of them another name",
            location=node.location,
        )
    return replace(before, migrations={**before.migrations, **state.migrations})


def _migrations(uid: str, descriptor: StateDescriptor[Any]) -> Mapping[str, Callable[[bytes], bytes]]:
    change = _change_elements if isinstance(descriptor, ListStateDescriptor) else _change_value
    return {
        old: partial(_migrate, change, migration, f"state {descriptor.name!r} of operator {uid!r}", old)
        for old, migration in descriptor.migrations.items()
    }


def _migrate(
    change: Callable[[Callable[[Any], Any], bytes], bytes],
    migration: Migration,
    state: str,
    old: str,
    data: bytes,
) -> bytes:
    """The stored bytes of one key's value (map: of one entry's) as bytes of the new type."""
    try:
        return change(migration.function, data)
    except USER_ERRORS as error:
        if is_ours(error):
            raise
        raise _failed(error, migration, state, old) from error


def _failed(error: BaseException, migration: Migration, state: str, old: str) -> MigrationError:
    frames = users_frames(error.__traceback__)
    where = Location(frames[-1].file, frames[-1].line, frames[-1].function) if frames else migration.location
    remedy = error.help if isinstance(error, MiniFlinkError) else ""
    return MigrationError(
        f"the migration of {state} from {old or 'an undeclared type'} raised {summary(error)}",
        help=remedy or "correct the function; what is stored was not changed",
        location=where,
    )


def _change_value(function: Callable[[Any], Any], data: bytes) -> bytes:
    return encode(_checked(function(decode(data))))


def _change_elements(function: Callable[[Any], Any], data: bytes) -> bytes:
    return b"".join(encode(_checked(function(element))) for element in decode_many(data))


def _checked(value: Any) -> Any:
    if type(value) in UNAWAITED:
        refuse_unawaited(value)
    return value


class _AnyState:
    """Takes every state: what it is to be compared with is known to somebody else."""

    def register(self, operator_number: int, name: str, kind: str, type_text: str, parallelism: int) -> int:
        """All have one place: nothing is kept there."""
        return 0


class _NoOutput:
    """``open`` and ``close`` put nothing out."""

    def emit(self, stage: int, subtask: int, key: bytes | None, value: bytes) -> None:
        """Never called: no record is processed."""

    def reply(
        self,
        operator: int,
        status: int,
        headers: list[tuple[str, str]],
        content_type: str | None,
        body: bytes,
    ) -> None:
        """Never called: no record is processed."""

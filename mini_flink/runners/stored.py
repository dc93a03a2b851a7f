"""Which states a data folder's tables hold, as ``core.compatibility`` wants to hear it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mini_flink import wire
from mini_flink.core.backlog import Source
from mini_flink.core.compatibility import StoredState
from mini_flink.state import layout
from mini_flink.state.layout import Stored


def states_in(
    tables: Iterable[Source], operators: Mapping[str, int], max_parallelism: int
) -> tuple[StoredState, ...]:
    """The states in the registries of the workers' tables."""
    uids = {number: uid for uid, number in operators.items()}
    return tuple(
        _stored(table, Stored(*wire.unpack(entry)), uids, max_parallelism)
        for table in tables
        for _, entry in table.scan(layout.REGISTRY)
    )


def _stored(table: Source, entry: Stored, uids: Mapping[int, str], max_parallelism: int) -> StoredState:
    prefixes = (layout.state_prefix(group, entry.operator, entry.number) for group in range(max_parallelism))
    return StoredState(
        uid=uids.get(entry.operator, f"number {entry.operator}"),
        name=entry.name,
        kind=entry.kind,
        type_text=entry.type_text,
        index=entry.number,
        parallelism=entry.parallelism,
        has_content=any(next(iter(table.scan(prefix)), None) is not None for prefix in prefixes),
    )

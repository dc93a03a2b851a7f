"""Which states tables and snapshots hold, as ``core.compatibility`` wants to hear it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mini_flink import wire
from mini_flink.core.backlog import Source
from mini_flink.core.compatibility import StoredState
from mini_flink.state import layout
from mini_flink.state.layout import STATE_PREFIX_BYTES, Stored


def states_in(
    tables: Iterable[Source], operators: Mapping[str, int], max_parallelism: int
) -> tuple[StoredState, ...]:
    """The states in the registries of the workers' tables."""
    uids = _uids(operators)
    return tuple(
        _stored(entry, uids, has_content=_has_content(table, entry, max_parallelism))
        for table in tables
        for entry in _registry(table)
    )


def states_streamed(sources: Iterable[Source], operators: Mapping[str, int]) -> tuple[StoredState, ...]:
    """The same of sources in which one cannot look here and there: each is read from one end to the other."""
    uids = _uids(operators)
    return tuple(state for source in sources for state in _streamed(source, uids))


def _streamed(source: Source, uids: Mapping[int, str]) -> Iterator[StoredState]:
    prefixes = {key[:STATE_PREFIX_BYTES] for key, _ in source.scan(layout.STATE)}
    filled = {layout.split_state_prefix(prefix)[1:] for prefix in prefixes}
    for entry in _registry(source):
        yield _stored(entry, uids, has_content=(entry.operator, entry.number) in filled)


def _uids(operators: Mapping[str, int]) -> Mapping[int, str]:
    return {number: uid for uid, number in operators.items()}


def _registry(source: Source) -> Iterator[Stored]:
    return (Stored(*wire.unpack(entry)) for _, entry in source.scan(layout.REGISTRY))


def _has_content(table: Source, entry: Stored, max_parallelism: int) -> bool:
    prefixes = (layout.state_prefix(group, entry.operator, entry.number) for group in range(max_parallelism))
    return any(next(iter(table.scan(prefix)), None) is not None for prefix in prefixes)


def _stored(entry: Stored, uids: Mapping[int, str], *, has_content: bool) -> StoredState:
    return StoredState(
        uid=uids.get(entry.operator, f"number {entry.operator}"),
        name=entry.name,
        kind=entry.kind,
        type_text=entry.type_text,
        index=entry.number,
        parallelism=entry.parallelism,
        has_content=has_content,
    )

"""Which states a worker's table holds, under which index, and whether the job still declares them all.

A changed job must never find its state silently empty: what is stored and not declared any more, or declared
with another kind, type or parallelism, is refused by name before anything is served.
"""

from __future__ import annotations

from collections.abc import Mapping

from mini_flink import wire
from mini_flink.errors import FolderError, IncompatibleError
from mini_flink.graph import CollectionOptions, Node
from mini_flink.state import layout
from mini_flink.state.base import Table
from mini_flink.state.layout import MAX_STATES, Stored
from mini_flink.state.overlay import Overlay


class Registry:
    """The states of one worker. ``register`` while functions open, then ``check_complete``."""

    def __init__(self, overlay: Overlay, table: Table, uids: Mapping[int, str], max_parallelism: int) -> None:
        self._overlay = overlay
        self._table = table
        self._uids = uids
        self._max_parallelism = max_parallelism
        self._declared: set[tuple[int, str]] = set()
        entries = (Stored(*wire.unpack(value)) for _, value in overlay.scan(layout.REGISTRY))
        self._stored = {(entry.operator, entry.name): entry for entry in entries}

    def register(self, operator: int, name: str, kind: str, type_text: str, parallelism: int) -> int:
        """The index of a state; IncompatibleError if what is stored under this name is something else."""
        stored = self._stored.get((operator, name))
        if stored is None:
            stored = self._add(operator, name, kind, type_text, parallelism)
        declared = stored._replace(kind=kind, type_text=type_text, parallelism=parallelism)
        if declared != stored and self._has_content(stored):
            raise IncompatibleError(
                f"state {name!r} of operator {self._uid(operator)!r} is stored as {stored.describe()}, "
                f"and the job declares {declared.describe()}",
                help="declare it as it is stored, or give the changed operator another uid",
            )
        if declared != stored:
            self._save(declared)
        self._declared.add((operator, name))
        return stored.number

    def _add(self, operator: int, name: str, kind: str, type_text: str, parallelism: int) -> Stored:
        numbers = (entry.number for entry in self._stored.values() if entry.operator == operator)
        number = max(numbers, default=-1) + 1  # not their count: dropped states leave gaps
        if number >= MAX_STATES:
            raise FolderError(f"operator {self._uid(operator)!r} declares more than {MAX_STATES} states")
        entry = Stored(operator, name, number, kind, type_text, parallelism)
        self._save(entry)
        return entry

    def _save(self, entry: Stored) -> None:
        self._stored[entry.operator, entry.name] = entry
        key = layout.registry_key(entry.operator, entry.name)
        self._overlay.put_entry(layout.REGISTRY, key, wire.pack(entry))

    def check_collection(self, node: Node, number: int, committed: int) -> None:
        """FolderError if elements that were there at the last start are others now, once any is committed.

        What is committed is skipped by count: other elements in its place would never be run. New ones may be
        appended.
        """
        options = node.options
        if not isinstance(options, CollectionOptions):
            return
        key = layout.collection_key(number)
        stored = self._overlay.get(key)
        if stored is not None and committed:
            before = wire.unpack(stored)
            if options.digest(before[0]) != before:
                raise FolderError(
                    f"the elements of the source {node.uid!r} have changed, and {committed} of its "
                    f"{before[0]} are done",
                    help='append new elements at the end, or give the source another uid: .uid("…")',
                    location=node.location,
                )
        now = wire.pack(options.plain())
        if now != stored:
            self._overlay.put(key, now)

    @property
    def stateful_operators(self) -> list[int]:
        """The numbers of the operators that have declared state."""
        return sorted({operator for operator, _ in self._declared})

    @property
    def states(self) -> dict[int, dict[int, str]]:
        """The kind of each state that is declared, by operator and index."""
        found: dict[int, dict[int, str]] = {}
        for place in self._declared:
            entry = self._stored[place]
            found.setdefault(entry.operator, {})[entry.number] = entry.kind
        return found

    def check_complete(self) -> None:
        """IncompatibleError naming every state that is stored and that no operator declares any more."""
        lost = [
            f"state {name!r} of operator {self._uid(operator)!r}"
            for (operator, name), entry in sorted(self._stored.items())
            if (operator, name) not in self._declared and self._has_content(entry)
        ]
        if lost:
            raise IncompatibleError(
                f"the data folder holds {', '.join(lost)}, which the job does not declare any more",
                help="give it back its uid and name, or let it go: --allow-dropped-state",
            )

    def _has_content(self, entry: Stored) -> bool:
        for group in range(self._max_parallelism):
            prefix = layout.state_prefix(group, entry.operator, entry.number)
            if next(iter(self._table.scan(prefix)), None) is not None or self._overlay.holds(prefix):
                return True
        return False

    def _uid(self, operator: int) -> str:
        return self._uids.get(operator, f"number {operator}")

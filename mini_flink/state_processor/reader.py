"""Reads what a savepoint holds: the states of its operators key by key, and its dead letters.

Called by programs of users. Reads files only: of snapshots, too, also while a server runs and writes others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self, TypeVar, overload

from mini_flink import keys, values, wire
from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.errors import DecodeError, SnapshotError
from mini_flink.state import layout
from mini_flink.state_processor.encoding import StateDecoder, help_to_read
from mini_flink.state_processor.existing import (
    ExistingSavepoint,
    StateInfo,
    place_of,
    there_is,
    title_of,
)

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Acc = TypeVar("Acc")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that failed: at which operator, when, and why. ``key`` is None without a ``key_by``."""

    error_id: str
    operator: str
    key: Any
    value: Any
    failed_at: datetime
    error_type: str
    error_message: str
    request_id: str


class SavepointReader:
    """A savepoint or snapshot that is open for reading; made by ``read``.

    >>> import tempfile
    >>> from mini_flink.datastream.state import ValueStateDescriptor
    >>> from mini_flink.state_processor import SavepointWriter
    >>> totals = ValueStateDescriptor("total", int)
    >>> written = (
    ...     SavepointWriter.new_savepoint("running-total")
    ...     .with_operator("total", totals, [("a", 3), ("b", 4)])
    ...     .write(tempfile.mkdtemp())
    ... )
    >>> with SavepointReader.read(written.path) as savepoint:
    ...     savepoint.operators
    ...     sorted(savepoint.read_keyed_state("total", totals))
    {'total': (StateInfo(name='total', kind='value', type_text='int'),)}
    [('a', 3), ('b', 4)]
    """

    def __init__(self, savepoint: ExistingSavepoint) -> None:
        self._savepoint = savepoint

    @classmethod
    def read(cls, place: str | os.PathLike[str]) -> Self:
        """Open the savepoint, or snapshot, at ``place``: its folder or URL; of several there the latest.

        SnapshotError if there is none, CorruptionError if it is damaged or not whole.
        """
        return cls(ExistingSavepoint(place))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing may be read from it afterwards."""
        self._savepoint.close()

    @property
    def id(self) -> str:
        """The savepoint's id: its data folder's and its epoch."""
        return self._savepoint.manifest.id

    @property
    def job(self) -> str:
        """The name of the job whose state this is."""
        return self._savepoint.manifest.job

    @property
    def max_parallelism(self) -> int:
        """The number of key groups, which a job that is restored from it must have, too."""
        return self._savepoint.manifest.max_parallelism

    @property
    def created_at(self) -> datetime:
        """When it was taken or written, in UTC."""
        return _moment(self._savepoint.manifest.created_ms)

    @property
    def operators(self) -> Mapping[str, tuple[StateInfo, ...]]:
        """The states of each operator that has some, by the operator's uid."""
        return self._savepoint.operators

    def verify(self) -> None:
        """Reads everything; CorruptionError that names the file that is not as it was written.

        Without it each block is still checked as it is read: nothing damaged is ever given out.
        """
        self._savepoint.check()

    @overload
    def read_keyed_state(
        self, uid: str, descriptor: ValueStateDescriptor[T] | ReducingStateDescriptor[T]
    ) -> Iterator[tuple[Any, T]]: ...
    @overload
    def read_keyed_state(
        self, uid: str, descriptor: ListStateDescriptor[T]
    ) -> Iterator[tuple[Any, list[T]]]: ...
    @overload
    def read_keyed_state(
        self, uid: str, descriptor: MapStateDescriptor[K, V]
    ) -> Iterator[tuple[Any, dict[K, V]]]: ...
    @overload
    def read_keyed_state(
        self, uid: str, descriptor: AggregatingStateDescriptor[Any, Acc, Any]
    ) -> Iterator[tuple[Any, Acc]]: ...
    def read_keyed_state(self, uid: str, descriptor: StateDescriptor[Any]) -> Iterator[tuple[Any, Any]]:
        """Each key that has the state, with what is kept for it, in an order that has no meaning.

        That is the value; the list of a list state's elements; the dict of a map state's entries; what a
        reducing state's elements were combined into; an aggregating state's accumulator. One key is in memory
        at a time. Values have the types with which they were stored; the descriptor's type is not compared.

        SnapshotError, which says what there is, for an unknown operator or state or one of another kind.
        DecodeError for a value of a class that this program has not imported. CorruptionError, while it is
        read, where a file is damaged.
        """
        info = self._state(uid, descriptor)
        decoder = StateDecoder(title_of(uid, info.name), info.kind)
        return decoder.pairs(self._stored_items(uid, info.name))

    def _state(self, uid: str, descriptor: StateDescriptor[Any]) -> StateInfo:
        states = {info.name: info for info in self._savepoint.states_of(uid)}
        info = states.get(descriptor.name)
        if info is None:
            raise SnapshotError(
                f"operator {uid!r} has no state {descriptor.name!r} in {self.id}",
                help=there_is(descriptor.name, states, f"states of operator {uid!r}"),
            )
        if info.kind != descriptor.kind:
            raise SnapshotError(
                f"{title_of(uid, info.name)} is a {info.kind} state, not a {descriptor.kind} state",
                help=f"give a {info.kind.capitalize()}StateDescriptor",
            )
        return info

    def _stored_items(self, uid: str, name: str) -> Iterator[tuple[bytes, bytes]]:
        for part in self._savepoint.parts:
            wanted = self._savepoint.place(part, uid, name)
            if wanted is not None:
                yield from (item for item in part.scan(layout.STATE) if place_of(item[0]) == wanted)

    def dead_letters(self) -> Iterator[DeadLetter]:
        """The records that had failed until then and were kept, in no order."""
        for part in self._savepoint.parts:
            for _, packed in part.scan(layout.DEAD_LETTER):
                yield _letter(wire.unpack(packed))


def _letter(letter: Mapping[str, Any]) -> DeadLetter:
    error = letter["error"]
    try:
        key = None if letter["key"] is None else keys.decode_key(letter["key"])
        value = values.decode(letter["value"])
    except DecodeError as undecodable:
        message = (
            f"dead letter {letter['error_id']} of operator {letter['operator']!r}: {undecodable.message}"
        )
        raise DecodeError(message, help=help_to_read(undecodable)) from undecodable
    return DeadLetter(
        error_id=letter["error_id"],
        operator=letter["operator"],
        key=key,
        value=value,
        failed_at=_moment(letter["failed_ms"]),
        error_type=error["type"],
        error_message=error["message"],
        request_id=letter["request_id"],
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

"""Keyed state over the store: encoded keys and values, so that what is read is fresh.

A state's key in the store is its prefix (key group, operator, state) and the record's encoded key; an entry
of a map state has the encoded map key behind it. Made by ``context`` in ``open``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mini_flink.datastream.state import (
    Aggregates,
    AggregatingState,
    ListState,
    MapState,
    ReducingState,
    ValueState,
)
from mini_flink.errors import JobError
from mini_flink.keys import decode_key, encode_key
from mini_flink.operators.base import CurrentRecord, KeyedStore
from mini_flink.operators.unawaited import UNAWAITED, refuse_unawaited
from mini_flink.state.layout import state_prefix
from mini_flink.values import decode, decode_many, encode


class Slot:
    """Where one state of one operator lies for the current key."""

    __slots__ = ("_index", "_operator", "_prefixes", "_record", "store")

    def __init__(self, record: CurrentRecord, store: KeyedStore, operator: int, index: int) -> None:
        self.store = store
        self._record = record
        self._operator = operator
        self._index = index
        self._prefixes: dict[int, bytes] = {}

    def key(self) -> bytes:
        """The state's key in the store."""
        record = self._record
        key = record.key
        if key is None:
            raise JobError(
                "state was used while no record was processed",
                help="read and write state in process_element, map and the like: only there is a current key",
            )
        group = record.key_group(key)
        prefix = self._prefixes.get(group)
        if prefix is None:
            prefix = self._prefixes[group] = state_prefix(group, self._operator, self._index)
        return prefix + key

    def read(self) -> bytes | None:
        return self.store.get(self.key())

    def write(self, data: bytes) -> None:
        self.store.put(self.key(), data)

    def remove(self) -> None:
        """Nothing is logged for what is not there."""
        key = self.key()
        if self.store.get(key) is not None:
            self.store.delete(key)


class StoredValue(ValueState[Any]):
    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def value(self) -> Any:
        data = self._slot.read()
        return None if data is None else decode(data)

    def update(self, value: Any) -> None:
        if value is None:
            self._slot.remove()
        else:
            self._slot.write(encode(value))

    def clear(self) -> None:
        self._slot.remove()


class StoredList(ListState[Any]):
    """The elements' encodings, one after another: appending decodes nothing."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def get(self) -> list[Any]:
        data = self._slot.read()
        return [] if data is None else decode_many(data)

    def add(self, value: Any) -> None:
        self._append(encode(value))

    def add_all(self, values: Iterable[Any]) -> None:
        self._append(b"".join(map(encode, values)))

    def _append(self, data: bytes) -> None:
        if data:
            self._slot.write((self._slot.read() or b"") + data)

    def update(self, values: Iterable[Any]) -> None:
        data = b"".join(map(encode, values))
        if data:
            self._slot.write(data)
        else:
            self._slot.remove()

    def clear(self) -> None:
        self._slot.remove()


class StoredMap(MapState[Any, Any]):
    """One item of the store per entry."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._store = slot.store

    def get(self, key: Any) -> Any:
        data = self._store.get(self._slot.key() + encode_key(key))
        return None if data is None else decode(data)

    def put(self, key: Any, value: Any) -> None:
        prefix = self._slot.key()
        self._store.put_entry(prefix, prefix + encode_key(key), encode(value))

    def put_all(self, dict_value: Mapping[Any, Any]) -> None:
        for key, value in dict_value.items():
            self.put(key, value)

    def remove(self, key: Any) -> None:
        prefix = self._slot.key()
        entry = prefix + encode_key(key)
        if self._store.get(entry) is not None:
            self._store.delete_entry(prefix, entry)

    def contains(self, key: Any) -> bool:
        return self._store.get(self._slot.key() + encode_key(key)) is not None

    def items(self) -> list[tuple[Any, Any]]:
        prefix = self._slot.key()
        start = len(prefix)
        return [(decode_key(entry[start:]), decode(data)) for entry, data in self._store.scan(prefix)]

    def keys(self) -> list[Any]:
        prefix = self._slot.key()
        start = len(prefix)
        return [decode_key(entry[start:]) for entry, _ in self._store.scan(prefix)]

    def values(self) -> list[Any]:
        return [decode(data) for _, data in self._store.scan(self._slot.key())]

    def is_empty(self) -> bool:
        return not self._store.scan(self._slot.key())

    def clear(self) -> None:
        prefix = self._slot.key()
        for entry, _ in self._store.scan(prefix):
            self._store.delete_entry(prefix, entry)


class StoredReduction(ReducingState[Any]):
    def __init__(self, slot: Slot, function: Callable[[Any, Any], Any]) -> None:
        self._slot = slot
        self._function = function

    def get(self) -> Any:
        data = self._slot.read()
        return None if data is None else decode(data)

    def add(self, value: Any) -> None:
        self.combine(value)

    def combine(self, value: Any) -> Any:
        """Adds the value; what the state then holds."""
        data = self._slot.read()
        combined = value if data is None else self._function(decode(data), value)
        if type(combined) in UNAWAITED:
            refuse_unawaited(combined)
        self._slot.write(encode(combined))
        return combined

    def clear(self) -> None:
        self._slot.remove()


class StoredAggregation(AggregatingState[Any, Any]):
    def __init__(self, slot: Slot, function: Aggregates[Any, Any, Any]) -> None:
        self._slot = slot
        self._function = function

    def get(self) -> Any:
        data = self._slot.read()
        return None if data is None else self._function.get_result(decode(data))

    def add(self, value: Any) -> None:
        data = self._slot.read()
        accumulator = self._function.create_accumulator() if data is None else decode(data)
        accumulator = self._function.add(value, accumulator)
        if type(accumulator) in UNAWAITED:
            refuse_unawaited(accumulator)
        self._slot.write(encode(accumulator))

    def clear(self) -> None:
        self._slot.remove()

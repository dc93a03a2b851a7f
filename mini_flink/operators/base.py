"""What operators are given by whoever runs them: the store, the registry, the output, the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mini_flink.ids import request_id
from mini_flink.keys import decode_key, key_group
from mini_flink.records import Origin

Emit = Callable[[Any], None]
"""Takes one value: an operator with all that follows it in its stage."""


class KeyedStore(Protocol):
    """Keyed state in encoded form, as the overlay keeps it; changes are undone if the record fails."""

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def put_entry(self, prefix: bytes, key: bytes, value: bytes) -> None: ...
    def delete_entry(self, prefix: bytes, key: bytes) -> None: ...
    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]: ...


class StateRegistry(Protocol):
    """Knows the states of this data folder."""

    def register(self, operator_number: int, name: str, kind: str, type_text: str, parallelism: int) -> int:
        """The state's index in its operator, the same at every start; ``JobError`` if its type is another."""
        ...


class Output(Protocol):
    """Where the outputs of the current record go."""

    def emit(self, stage: int, subtask: int, key: bytes | None, value: bytes) -> None: ...
    def reply(
        self,
        operator: int,
        status: int,
        headers: list[tuple[str, str]],
        content_type: str | None,
        body: bytes,
    ) -> None: ...


class CurrentRecord:
    """The record that a task is working on; one object per task, used again for each record."""

    __slots__ = ("_folder_id", "_group", "_max_parallelism", "key", "origin")

    def __init__(self, max_parallelism: int, folder_id: int) -> None:
        self.key: bytes | None = None
        self.origin: Origin | None = None
        self._group: int | None = None
        self._max_parallelism = max_parallelism
        self._folder_id = folder_id

    def begin(self, key: bytes | None, origin: Origin | None) -> None:
        self.key = key
        self.origin = origin
        self._group = None

    def end(self) -> None:
        self.key = None
        self.origin = None
        self._group = None

    def key_group(self, key: bytes) -> int:
        """The group of the record's key; found when the first state asks for it."""
        group = self._group
        if group is None:
            group = self._group = key_group(key, self._max_parallelism)
        return group

    def decoded_key(self) -> Any:
        """The key as the user's selector gave it, ``None`` without one."""
        return None if self.key is None else decode_key(self.key)

    def request_id(self) -> str:
        """The id of the request that the record comes from, "" if there is none."""
        origin = self.origin
        if origin is None:
            return ""
        return request_id(self._folder_id, origin.gateway, origin.incarnation, origin.request)

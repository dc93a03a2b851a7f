"""What the record being run puts out: the operators fill it, the engine empties it."""

from __future__ import annotations

from mini_flink.errors import RecordError

_OVERHEAD_BYTES = 64
"""What an output takes beside its value, so that endless empty ones come to an end too."""

Emitted = tuple[int, int, bytes | None, bytes]
"""Stage, subtask, key, value."""
Reply = tuple[int, list[tuple[str, str]], str | None, bytes, int]
"""Status, headers, content type, body, operator."""


class Outputs:
    """The outputs of one record at a time, within ``limit_bytes``."""

    __slots__ = ("_bytes", "_limit_bytes", "emitted", "replied")

    def __init__(self, limit_bytes: int) -> None:
        self.emitted: list[Emitted] = []
        self.replied: list[Reply] = []
        self._limit_bytes = limit_bytes
        self._bytes = 0

    def clear(self) -> None:
        """A record begins."""
        self.emitted.clear()
        self.replied.clear()
        self._bytes = 0

    def emit(self, stage: int, subtask: int, key: bytes | None, value: bytes) -> None:
        """An output for another stage; RecordError once they are too many."""
        self.emitted.append((stage, subtask, key, value))
        self._bytes += len(value) + _OVERHEAD_BYTES
        if self._bytes > self._limit_bytes:
            self.check_size()

    def reply(
        self,
        operator: int,
        status: int,
        headers: list[tuple[str, str]],
        content_type: str | None,
        body: bytes,
    ) -> None:
        """The answer of ``operator`` to the request that the record comes from."""
        self.replied.append((status, headers, content_type, body, operator))
        self._bytes += len(body) + _OVERHEAD_BYTES

    def check_size(self, change_bytes: int = 0) -> None:
        """RecordError if the outputs and ``change_bytes`` of state are more than a commit holds."""
        size = self._bytes + change_bytes
        if size > self._limit_bytes:
            raise RecordError(
                f"its outputs and state changes take {size} bytes, more than a commit may hold",
                help=f"emit less per record, or raise commit_limit_bytes ({self._limit_bytes})",
            )

"""A record's failure: what user code raised, and in which operator. It is wrapped once.

Whoever runs the task undoes the record's changes and outputs, and buries the record.
"""

from __future__ import annotations

from typing import Any

from mini_flink.errors import RecordError, StorageError

USER_ERRORS = (Exception, SystemExit)
"""What user code may raise at the cost of its record only; an interrupt goes through."""


class OperatorFailure(RecordError):
    """User code raised (``__cause__``) while operator ``number`` worked on a record with this key."""

    def __init__(self, number: int, uid: str, name: str, key: Any, cause: BaseException) -> None:
        super().__init__(f"operator {name!r} raised {type(cause).__name__}")
        self.number = number
        self.uid = uid
        self.name = name
        self.key = key
        self.cause = cause
        self.__cause__ = cause


def is_ours(error: BaseException) -> bool:
    """Whether this only passed through user code: a disk that fails is no record's fault."""
    return isinstance(error, StorageError)

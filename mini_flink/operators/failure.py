"""A record's failure: what user code raised, and in which operator. It is wrapped once.

Whoever runs the task undoes the record's changes and outputs, and buries the record.
"""

from __future__ import annotations

from typing import Any

from mini_flink.errors import Location, RecordError, StorageError, is_interrupt

USER_ERRORS = (BaseException,)
"""What user code may raise at the cost of its record only: all but what ``is_ours``."""


class OperatorFailure(RecordError):
    """User code raised (``__cause__``) while operator ``number`` worked on a record with this key.

    ``location`` is where the operator, or the ``key_by`` in front of it, was made.
    """

    def __init__(
        self, number: int, uid: str, name: str, key: Any, cause: BaseException, location: Location
    ) -> None:
        super().__init__(f"operator {name!r} raised {type(cause).__name__}")
        self.number = number
        self.uid = uid
        self.name = name
        self.key = key
        self.cause = cause
        self.location = location
        self.__cause__ = cause


def is_ours(error: BaseException) -> bool:
    """Whether this only passed through user code: a failing disk, Ctrl-C or a generator's end is no fault."""
    return isinstance(error, StorageError | GeneratorExit) or is_interrupt(error)

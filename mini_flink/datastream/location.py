"""Finds the user's own line: the innermost frame outside this package (the examples are jobs, too)."""

from __future__ import annotations

import os
import sys
from types import FrameType

from mini_flink.errors import Location
from mini_flink.source import EXAMPLES, PACKAGE


def user_location() -> Location:
    """Where the user called the API, seen from inside the call."""
    frame = _user_frame()
    file = frame.f_code.co_filename
    return Location(
        file if file.startswith("<") else os.path.abspath(file), frame.f_lineno, frame.f_code.co_name
    )


def user_module() -> str:
    """The name of the module that called the API: ``__main__`` in a job that Python runs."""
    return str(_user_frame().f_globals.get("__name__", ""))


def _user_frame() -> FrameType:
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _is_ours(file: str) -> bool:
    return file.startswith(PACKAGE + os.sep) and not file.startswith(EXAMPLES + os.sep)

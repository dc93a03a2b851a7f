"""The refusal of what nothing would await: async functions when they are given."""

from __future__ import annotations

import inspect
from typing import Any

from mini_flink.errors import JobError, Location


def refuse_async(what: str, function: Any, location: Location) -> None:
    """An ``async def`` would never be awaited; ``what`` begins the sentence: ``map() was given``."""
    for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise JobError(
                f"{what} an async def, and nothing awaits it there",
                help="use a plain def; async calls belong to AsyncDataStream, which a later version brings",
                location=location,
            )

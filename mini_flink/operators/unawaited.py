"""The refusal of what nothing would await: coroutines that a plain function returns, such as a lambda's."""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType
from typing import Any, NoReturn

UNAWAITED = frozenset((CoroutineType, AsyncGeneratorType))
"""The types of results that are refused: asked for each result, hence by type and not by protocol."""


def refuse_unawaited(result: Any) -> NoReturn:
    """TypeError; the coroutine is closed, so that Python does not warn of it as well."""
    if type(result) is CoroutineType:
        result.close()
    what = "a coroutine" if type(result) is CoroutineType else "an async generator"
    raise TypeError(
        f"the function returned {what}, and nothing awaits it here: call no async function"
        " (AsyncDataStream comes later)"
    )

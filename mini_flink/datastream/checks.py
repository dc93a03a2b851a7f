"""What user functions are checked for when they are given, so that a mistake is told with the user's line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mini_flink.datastream.functions import Function, KeySelector
from mini_flink.datastream.unawaited import refuse_async
from mini_flink.errors import JobError, Location


def check_function(call: str, function: Any, kind: type, method: str, location: Location) -> None:
    """``function`` is a ``kind`` or a plain function that is not async; ``call`` is what it was given to."""
    if inspect.isclass(function) and issubclass(function, kind):
        raise JobError(
            f"{call}() was given the class {function.__name__}, not an object of it",
            help=f"write {function.__name__}()",
            location=location,
        )
    target = getattr(function, method) if isinstance(function, kind) else function
    of_another_class = isinstance(function, Function) and not isinstance(function, kind)
    if of_another_class or not callable(target):
        raise JobError(
            f"{call}() takes a function or a {kind.__name__}, not {type(function).__name__}",
            help=f"give it a def, a lambda or an object of a class derived from {kind.__name__}",
            location=location,
        )
    refuse_async(f"{call}() was given", target, location)
    if isinstance(function, Function):
        for name in ("open", "close"):
            refuse_async(f"{name}() of {type(function).__name__} is", getattr(function, name), location)


def selector_function(key_selector: Any, location: Location) -> Callable[[Any], Any]:
    """The plain function of what ``key_by`` was given."""
    check_function("key_by", key_selector, KeySelector, "get_key", location)
    function: Callable[[Any], Any] = (
        key_selector.get_key if isinstance(key_selector, KeySelector) else key_selector
    )
    return function


def function_name(function: Any, default: str) -> str:
    """What to call an operator after its function: ``Total``, ``parse``, or the default for a lambda."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return default if name in ("<lambda>", "partial", "builtin_function_or_method") else str(name)

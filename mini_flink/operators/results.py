"""What a function that may return several values returned, passed on one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any

from mini_flink.common.row import Row
from mini_flink.console import current
from mini_flink.operators.base import Emit
from mini_flink.operators.failure import USER_ERRORS, is_ours
from mini_flink.operators.operator import Operator
from mini_flink.operators.unawaited import UNAWAITED, refuse_unawaited


def build_results(operator: Operator, downstream: Emit) -> Callable[[Any], None]:
    """A callable that takes what the user's function returned: a generator, an iterable or ``None``."""
    fail, name = operator.fail, operator.node.name

    def pass_on(results: Any) -> None:
        if results is None:
            return
        try:
            iterator = results if type(results) is GeneratorType else _iterator(results)
        except USER_ERRORS as error:
            fail(error)
        while True:
            try:
                value = next(iterator)
            except StopIteration:
                return
            except USER_ERRORS as error:
                fail(error)
            try:
                downstream(value)
            except BaseException:
                _close(iterator)
                raise
            current.operator = name

    return pass_on


def _iterator(results: Any) -> Iterator[Any]:
    """Values that can be iterated but are meant as one value are refused: their parts would go on."""
    if type(results) in UNAWAITED:
        refuse_unawaited(results)
    single = isinstance(results, str | bytes | bytearray | dict | Row) or hasattr(results, "_fields")
    if single or not hasattr(results, "__iter__"):
        raise TypeError(
            f"the function returned a {type(results).__name__}; several values are expected:"
            " yield each, or return a list of them"
        )
    iterator: Iterator[Any] = iter(results)
    return iterator


def _close(iterator: Iterator[Any]) -> None:
    """Ends a generator now: its ``finally`` must not touch state when the next record is at work."""
    close = getattr(iterator, "close", None)
    if close is not None:
        try:
            close()
        except USER_ERRORS as error:  # the record has failed already, and not from this
            if is_ours(error):
                raise

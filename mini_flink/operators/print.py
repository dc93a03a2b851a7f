"""print: a line on standard output for each value."""

from __future__ import annotations

from typing import Any

from mini_flink.operators.base import Emit
from mini_flink.operators.failure import USER_ERRORS
from mini_flink.operators.operator import Operator


def build_print(operator: Operator, downstream: Emit) -> Emit:  # noqa: ARG001 - nothing follows a sink
    fail = operator.fail

    def run(value: Any) -> None:
        try:
            print(str(value))
        except USER_ERRORS as error:
            fail(error)

    return run

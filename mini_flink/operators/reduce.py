"""reduce: a reducing state whose content is passed on after each value."""

from __future__ import annotations

from typing import Any

from mini_flink.datastream.state import ReducingStateDescriptor
from mini_flink.operators.base import Emit
from mini_flink.operators.failure import USER_ERRORS
from mini_flink.operators.operator import Operator
from mini_flink.operators.state import StoredReduction

STATE_NAME = "reduce"


def build_reduce(operator: Operator, downstream: Emit) -> Emit:
    function, fail = operator.method("reduce"), operator.fail
    descriptor: ReducingStateDescriptor[Any] = ReducingStateDescriptor(STATE_NAME, function)
    state = StoredReduction(operator.states.slot(descriptor), function)

    def run(value: Any) -> None:
        try:
            reduced = state.combine(value)
        except USER_ERRORS as error:
            fail(error)
        downstream(reduced)

    return run

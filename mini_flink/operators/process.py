"""process: like flat_map, with a context."""

from __future__ import annotations

from typing import Any

from mini_flink.operators.base import Emit
from mini_flink.operators.context import KeyedWorkerContext, WorkerContext
from mini_flink.operators.failure import USER_ERRORS
from mini_flink.operators.operator import Operator
from mini_flink.operators.results import build_results


def build_process(operator: Operator, downstream: Emit) -> Emit:
    function, fail = operator.method("process_element"), operator.fail
    context_class = KeyedWorkerContext if operator.node.keyed else WorkerContext
    context = context_class(operator.record, operator.node)
    pass_on = build_results(operator, downstream)

    def run(value: Any) -> None:
        try:
            results = function(value, context)
        except USER_ERRORS as error:
            fail(error)
        pass_on(results)

    return run

"""map, filter and flat_map."""

from __future__ import annotations

from typing import Any

from mini_flink.operators.base import Emit
from mini_flink.operators.failure import USER_ERRORS
from mini_flink.operators.operator import Operator
from mini_flink.operators.results import build_results
from mini_flink.operators.unawaited import UNAWAITED, refuse_unawaited


def build_map(operator: Operator, downstream: Emit) -> Emit:
    function, fail = operator.method("map"), operator.fail

    def run(value: Any) -> None:
        try:
            result = function(value)
            if type(result) in UNAWAITED:
                refuse_unawaited(result)
        except USER_ERRORS as error:
            fail(error)
        downstream(result)

    return run


def build_filter(operator: Operator, downstream: Emit) -> Emit:
    function, fail = operator.method("filter"), operator.fail

    def run(value: Any) -> None:
        try:
            kept = function(value)
            if type(kept) in UNAWAITED:
                refuse_unawaited(kept)
            kept = bool(kept)
        except USER_ERRORS as error:
            fail(error)
        if kept:
            downstream(value)

    return run


def build_flat_map(operator: Operator, downstream: Emit) -> Emit:
    function, fail = operator.method("flat_map"), operator.fail
    pass_on = build_results(operator, downstream)

    def run(value: Any) -> None:
        try:
            results = function(value)
        except USER_ERRORS as error:
            fail(error)
        pass_on(results)

    return run

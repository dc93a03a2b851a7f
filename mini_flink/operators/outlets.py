"""Where an operator's outputs go: into the operators chained behind it, and out to other stages.

A value is encoded at most once, however many take it. At a branch each chained operator decodes a copy of
its own, so that what one of them changes, none of the others sees, on one worker or on many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mini_flink.console import current
from mini_flink.keys import encode_key, key_group, subtask_of_group
from mini_flink.operators.base import Emit, Output
from mini_flink.operators.failure import USER_ERRORS, OperatorFailure, is_ours
from mini_flink.operators.operator import Operator
from mini_flink.plan import Link
from mini_flink.values import decode, encode

Send = Callable[[Any, bytes], None]
"""Takes a value and its encoding."""


def build_outlets(
    operator: Operator, links: Sequence[tuple[Link, Emit | None]], subtask: int, max_parallelism: int
) -> Emit:
    """One callable for all links; with each chained link stands the operator that it leads to."""
    if not links:
        return _drop
    if len(links) == 1 and links[0][1] is not None:
        return _counted(operator, links[0][1])
    sends = [
        _remote(operator, link, subtask, max_parallelism) if chained is None else _branch(chained)
        for link, chained in links
    ]
    return _single(operator, sends[0]) if len(sends) == 1 else _fan(operator, sends)


def _counted(operator: Operator, chained: Emit) -> Emit:
    counts = operator.counts

    def out(value: Any) -> None:
        counts.records_out += 1
        chained(value)

    return out


def _drop(_value: Any) -> None:
    """The end of a stream that goes on nowhere."""


def _single(operator: Operator, send: Send) -> Emit:
    fail, counts = operator.fail, operator.counts

    def out(value: Any) -> None:
        counts.records_out += 1
        try:
            encoded = encode(value)
        except USER_ERRORS as error:
            fail(error)
        send(value, encoded)

    return out


def _fan(operator: Operator, sends: list[Send]) -> Emit:
    fail, counts = operator.fail, operator.counts

    def out(value: Any) -> None:
        counts.records_out += 1
        try:
            encoded = encode(value)
        except USER_ERRORS as error:
            fail(error)
        for send in sends:
            send(value, encoded)

    return out


def _branch(chained: Emit) -> Send:
    def send(_value: Any, encoded: bytes) -> None:
        chained(decode(encoded))

    return send


def _remote(operator: Operator, link: Link, subtask: int, max_parallelism: int) -> Send:
    if link.selector is not None:
        return _by_key(operator, link, max_parallelism)
    if link.forward:
        return _to_subtask(operator.output, link.stage, subtask)
    return _in_turn(operator.output, link, subtask)


def _by_key(operator: Operator, link: Link, max_parallelism: int) -> Send:
    selector, stage, parallelism = link.selector, link.stage, link.parallelism
    emit, record, name = operator.output.emit, operator.record, link.target.name
    if selector is None:
        raise TypeError("a link by key has a selector")

    def send(value: Any, encoded: bytes) -> None:
        current.operator = name
        try:
            key = encode_key(selector(value))
        except USER_ERRORS as error:
            if is_ours(error):
                raise
            operator.counts.failures += 1
            key_of_input = record.decoded_key()
            raise OperatorFailure(
                link.number, link.target.uid, name, key_of_input, error, link.location
            ) from error
        group = key_group(key, max_parallelism)
        emit(stage, subtask_of_group(group, max_parallelism, parallelism), key, encoded)

    return send


def _to_subtask(output: Output, stage: int, subtask: int) -> Send:
    emit = output.emit

    def send(_value: Any, encoded: bytes) -> None:
        emit(stage, subtask, None, encoded)

    return send


def _in_turn(output: Output, link: Link, subtask: int) -> Send:
    emit, stage, parallelism = output.emit, link.stage, link.parallelism
    following = subtask % parallelism  # subtasks begin at different places, so that few records spread too

    def send(_value: Any, encoded: bytes) -> None:
        nonlocal following
        emit(stage, following, None, encoded)
        following = (following + 1) % parallelism

    return send

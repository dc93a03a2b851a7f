"""One operator in one subtask, while its task is built, opened and closed.

Each kind of operator is a ``Factory``: it gets the ``Operator`` and the callable that takes its outputs, and
returns the callable that takes its inputs. Those callables are all that a record passes.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from mini_flink.console import current
from mini_flink.datastream.functions import Function
from mini_flink.errors import JobError, Location, MiniFlinkError, is_interrupt
from mini_flink.failures import summary
from mini_flink.graph import Node
from mini_flink.operators.base import CurrentRecord, Emit, Output
from mini_flink.operators.context import States, WorkerRuntimeContext
from mini_flink.operators.failure import USER_ERRORS, OperatorFailure, is_ours
from mini_flink.source import short_path, users_frames

_log = logging.getLogger("mini_flink")


@dataclass(slots=True)
class Counts:
    """What an operator did in one subtask; only ever raised. Records that failed count as taken in."""

    records_in: int = 0
    records_out: int = 0
    failures: int = 0
    replies_ignored: int = 0
    timed_s: float = 0.0


class Timing:
    """Times what operators do for some of a task's records: each its own part, without what it calls.

    One object per task. ``on`` while a record is timed.
    """

    __slots__ = ("_inner_s", "on")

    def __init__(self) -> None:
        self.on = False
        self._inner_s = 0.0

    def run(self, counts: Counts, run: Emit, value: Any) -> None:
        """Run an operator; its time goes to its counts, and to whoever called it as time that is not its."""
        outer_s, self._inner_s = self._inner_s, 0.0
        began = time.perf_counter()
        try:
            run(value)
        finally:
            took_s = time.perf_counter() - began
            counts.timed_s += took_s - self._inner_s
            self._inner_s = outer_s + took_s


class Operator:
    """A node in a subtask: its own copy of the user's function, and what a factory may use."""

    def __init__(
        self,
        node: Node,
        number: int,
        runtime: WorkerRuntimeContext,
        states: States,
        record: CurrentRecord,
        output: Output,
        timing: Timing,
    ) -> None:
        self.node = node
        self.number = number
        self.states = states
        self.record = record
        self.output = output
        self.counts = Counts()
        self.function = _own_copy(node)
        self.subtask = runtime.get_index_of_this_subtask()
        self._runtime = runtime
        self._timing = timing

    def method(self, name: str) -> Callable[..., Any]:
        """The callable of the user's function: the method of that name, or the plain function itself."""
        target = getattr(self.function, name) if isinstance(self.function, Function) else self.function
        function: Callable[..., Any] = target
        return function

    def fail(self, error: BaseException) -> NoReturn:
        """What user code raised becomes this record's failure."""
        if is_ours(error):
            raise error
        self.counts.failures += 1
        node = self.node
        key = self.record.decoded_key()
        raise OperatorFailure(self.number, node.uid, node.name, key, error, node.location) from error

    def entry(self, run: Emit) -> Emit:
        """The operator's input, counted, and named for what user code prints."""
        counts, name, timing = self.counts, self.node.name, self._timing

        def enter(value: Any) -> None:
            counts.records_in += 1
            current.operator = name
            if timing.on:
                timing.run(counts, run, value)
            else:
                run(value)

        return enter

    def open(self) -> None:
        """Calls the user's ``open``; ``JobError`` with the user's line if it raises."""
        if not isinstance(self.function, Function):
            return
        current.operator = self.node.name
        self._runtime.opening = True
        try:
            self.function.open(self._runtime)
        except MiniFlinkError as error:
            self._locate(error, error)
            raise
        except USER_ERRORS as error:
            if is_interrupt(error):
                raise
            failed = JobError(
                f"open() of operator {self.node.name!r} raised {summary(error)}",
                help="the job cannot start before open() succeeds",
            )
            self._locate(failed, error)
            raise failed from error
        finally:
            self._runtime.opening = False
            current.operator = ""

    def _locate(self, failed: MiniFlinkError, cause: BaseException) -> None:
        """The user's line that raised, and for which operator it was called; only the latter without one."""
        made = self.node.location
        frames = users_frames(cause.__traceback__)
        if failed.location is None and frames:
            failed.location = Location(frames[-1].file, frames[-1].line, frames[-1].function)
            place = f"{short_path(made.file)}:{made.line}"
            failed.context = f"called for operator {self.node.name!r}, made at {place}"
        failed.location = failed.location or made

    def close(self) -> None:
        """Calls the user's ``close``; what it raises is logged and stops nobody else's."""
        if not isinstance(self.function, Function):
            return
        current.operator = self.node.name
        try:
            self.function.close()
        except USER_ERRORS as error:
            if is_interrupt(error):
                raise
            _log.warning("close() of operator %r raised %s", self.node.name, summary(error), exc_info=error)
        finally:
            current.operator = ""


Factory = Callable[[Operator, Emit], Emit]


def _own_copy(node: Node) -> Any:
    """Plain functions are shared; an object of a function class has attributes of its own in each subtask."""
    if not isinstance(node.function, Function):
        return node.function
    try:
        return copy.deepcopy(node.function)
    except USER_ERRORS as error:  # the user's own classes decide how they are copied
        if is_interrupt(error):
            raise
        raise JobError(
            f"the {type(node.function).__name__} of operator {node.name!r} cannot be copied for each subtask:"
            f" {summary(error)}",
            help="make connections, locks and the like in open(), not in __init__",
            location=node.location,
        ) from error

"""The slot through which ``env.execute()`` hands a finished graph to whoever runs it.

Owns: who executes, and the rule that a process has one job. Never: how. A runner registers itself here
before it runs the job module; with none registered (``python job.py``) the local runner is loaded. Tests and
the harness use ``executing_with``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mini_flink.errors import JobError
from mini_flink.graph import JobGraph

Executor = Callable[[JobGraph], None]

_LOCAL_RUNNER = "mini_flink.runners.local"  # loaded by name: the public API must not import the runners


class ExecutorSlot:
    """One executor and the job that was handed to it."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._job: JobGraph | None = None

    @property
    def is_default(self) -> bool:
        return self._executor is None

    def execute(self, graph: JobGraph) -> None:
        """Hands the graph over; a second one is refused with both lines."""
        if self._job is not None:
            raise JobError(
                f"a second job: {graph.name!r} is executed after {self._job.name!r} ({self._job.location})",
                help="a process runs one job: call env.execute() once, a job may have many sources",
                location=graph.location,
            )
        self._job = graph
        run = self._executor or importlib.import_module(_LOCAL_RUNNER).run
        run(graph)


_slots = [ExecutorSlot()]


def executor() -> Executor:
    """What ``env.execute()`` calls with its graph."""
    return _slots[-1].execute


def is_alone() -> bool:
    """Whether nobody has registered: the job was started as ``python job.py``."""
    return len(_slots) == 1 and _slots[0].is_default


def register_executor(run: Executor) -> None:
    """Makes ``run`` the executor of the job that this process loads next."""
    _slots[-1] = ExecutorSlot(run)


@contextmanager
def executing_with(run: Executor) -> Iterator[None]:
    """Jobs executed inside go to ``run``; what was registered before comes back afterwards.

    >>> from mini_flink.datastream import StreamExecutionEnvironment
    >>> graphs = []
    >>> with executing_with(graphs.append):
    ...     env = StreamExecutionEnvironment.get_execution_environment()
    ...     _ = env.from_requests("/echo").reply()
    ...     env.execute("echo")
    >>> graphs[0].name
    'echo'
    """
    _slots.append(ExecutorSlot(run))
    try:
        yield
    finally:
        _slots.pop()

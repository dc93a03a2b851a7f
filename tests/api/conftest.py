"""Building jobs in tests: the graph that a function builds, and the error it raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.errors import JobError
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph

Build = Callable[[StreamExecutionEnvironment], object]


@pytest.fixture
def graph_of() -> Callable[[Build], JobGraph]:
    """Runs a function on a new environment, executes it, and gives the graph."""

    def build(job: Build) -> JobGraph:
        graphs: list[JobGraph] = []
        with executing_with(graphs.append):
            env = StreamExecutionEnvironment.get_execution_environment()
            job(env)
            env.execute("test")
        return graphs[0]

    return build


@pytest.fixture
def refusal_of(graph_of: Callable[[Build], JobGraph]) -> Callable[[Build], JobError]:
    """The error that a job is refused with; its line is inside that job, and it says what to do."""

    def build(job: Build) -> JobError:
        with pytest.raises(JobError) as caught:
            graph_of(job)
        error = caught.value
        assert error.help
        assert error.location is not None
        assert error.location.file == job.__code__.co_filename  # type: ignore[attr-defined]
        return error

    return build

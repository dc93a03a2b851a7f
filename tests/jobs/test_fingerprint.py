"""A process that builds another job than the supervisor says which operator differs, at the user's line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.errors import EXIT_CONFIG, JobError
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph
from mini_flink.spec import ProcessSpec, check_fingerprint

Build = Callable[[Any], Any]


def graph_of(build: Build) -> JobGraph:
    graphs: list[JobGraph] = []
    with executing_with(graphs.append):
        env = StreamExecutionEnvironment.get_execution_environment()
        build(env.from_requests("/x"))
        env.execute("test")
    return graphs[0]


def spec_with(graph: JobGraph, folder: Path) -> ProcessSpec:
    """As it reaches a process: through JSON."""
    names = ProcessSpec.__dataclass_fields__
    data = dict.fromkeys(names, 0) | {"role": "worker", "fingerprint": graph.fingerprint(), "format": 1}
    path = folder / "spec.json"
    path.write_text(json.dumps(data))
    return ProcessSpec.read(str(path))


def plain(requests: Any) -> None:
    requests.map(abs).uid("one").reply()


def mapped_twice(requests: Any) -> None:
    requests.map(abs).uid("one").map(abs).uid("two").reply()


def parallel(requests: Any) -> None:
    requests.map(abs).uid("one").set_parallelism(3).reply()


def other_status(requests: Any) -> None:
    requests.map(abs).uid("one").reply(status=201)


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (mapped_twice, plain, "operator 3 is map 'two' (abs) here and reply 'reply-1' in the supervisor"),
        (
            parallel,
            plain,
            "operator 2 is map 'one' (abs), with parallelism 3 here and default in the supervisor",
        ),
        (
            other_status,
            plain,
            "operator 3 is reply 'reply-1', with other options here than in the supervisor",
        ),
    ],
)
def test_the_first_operator_that_differs_is_named(
    here: Build, there: Build, said: str, tmp_path: Path
) -> None:
    graph = graph_of(here)
    with pytest.raises(JobError) as caught:
        check_fingerprint(spec_with(graph_of(there), tmp_path), graph)
    assert caught.value.message == f"worker 0 builds another job than the supervisor: {said}"
    assert caught.value.exit_code == EXIT_CONFIG
    location = caught.value.location
    assert location is not None
    assert location.file == __file__


def test_an_operator_that_only_one_of_them_has(tmp_path: Path) -> None:
    def ended(requests: Any) -> None:
        requests.map(abs).uid("one")

    for here, there, said in [
        (plain, ended, "operator 3 is reply 'reply-1' here and does not exist in the supervisor"),
        (ended, plain, "operator 3 does not exist here and is reply 'reply-1' in the supervisor"),
    ]:
        with pytest.raises(JobError, match=said):
            check_fingerprint(spec_with(graph_of(there), tmp_path), graph_of(here))


def test_equal_jobs_pass(tmp_path: Path) -> None:
    check_fingerprint(spec_with(graph_of(plain), tmp_path), graph_of(plain))

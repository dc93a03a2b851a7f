"""A worker's process before it is one: it has loaded the job, and waits to hear who it is.

So that the new workers of a rescale or an upgrade, for whom clients wait, need not begin with an interpreter.
It holds no name, no folder and no connection, only the pipe whose end means that nobody needs it any more.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NamedTuple

from mini_flink import console
from mini_flink.errors import MiniFlinkError
from mini_flink.graph import JobGraph
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.pinned import PinnedSources
from mini_flink.spec import SPARE, ProcessSpec


class Called(NamedTuple):
    """Who this process is, and the job if it was loaded already."""

    spec: ProcessSpec
    graph: JobGraph | None


def called(arguments: list[str]) -> Called:
    """Who this process is: said by ``arguments``, or by the supervisor when it needs this spare.

    The console is installed before the job is loaded.
    """
    if arguments[0] != SPARE:
        spec = ProcessSpec.read(arguments[0])
        console.choose(spec.log, os.environ, spec.job_name)
        console.install(spec.label, spec.console_lock)
        return Called(spec, None)
    task = json.loads(arguments[1])
    console.choose(task["log"], os.environ, task["job_name"])
    console.install(task["label"], task["console_lock"])
    graph: JobGraph | None = None
    try:
        sources = PinnedSources.read(task.get("sources", ""))
        graph = load_graph(JobTarget.from_dict(task["job"]), quiet=True, sources=sources)
    except MiniFlinkError:
        graph = None  # it is loaded once more by whoever this becomes, and the error is told then
    with os.fdopen(task["descriptor"]) as pipe:
        path = pipe.readline().strip()
    if not path:
        console.finish()
        sys.exit(0)
    return Called(ProcessSpec.read(path), graph)

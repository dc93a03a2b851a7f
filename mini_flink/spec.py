"""What the supervisor tells a process at its birth: one JSON file, whose path is the only argument.

Everything that a worker or gateway needs to be one of many: who it is, which job, where its folders and its
peers are. Written by the supervisor (``supervisor/spec.py``), read once by the process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mini_flink.errors import MiniFlinkError
from mini_flink.graph import JobGraph


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of a job.

    ``name`` is that in channels (``w0``), ``role`` and ``index`` that for people (``worker 0``). ``peers``
    maps the names of the processes that hold records to (incarnation, endpoint). ``numbers`` maps operator
    uids to their durable numbers, also those that the job no longer has. ``fingerprint`` is the graph as the
    supervisor built it. ``listen_fd`` and ``alive_fd`` are inherited descriptors; EOF on the latter means
    that the supervisor is gone. ``boot``: this is the process's first start in this run.
    """

    role: str
    index: int
    name: str
    incarnation: int
    generation: int
    folder_id: int
    job: dict[str, Any]
    settings: dict[str, Any]
    data_dir: str
    folder: str | None
    runtime_dir: str
    console_lock: str
    page_path: str
    endpoint: str
    supervisor_endpoint: str
    peers: dict[str, list[Any]]
    workers: int
    gateways: int
    max_parallelism: int
    numbers: dict[str, int]
    fingerprint: list[Any]
    alive_fd: int
    boot: bool
    listen_fd: int = -1
    format: int = 1

    @classmethod
    def read(cls, path: str) -> ProcessSpec:
        """The spec in ``path``."""
        try:
            return cls(**json.loads(Path(path).read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise MiniFlinkError(
                f"{path} is no process specification: {error}",
                help="start it with: python -m mini_flink serve",
            ) from error

    @property
    def label(self) -> str:
        """How people call this process: ``worker 0``."""
        return f"{self.role} {self.index}"


def check_fingerprint(spec: ProcessSpec, graph: JobGraph) -> None:
    """Every process must have built the same job; MiniFlinkError names the first operator that differs."""
    mine = graph.fingerprint()
    if mine == spec.fingerprint:
        return
    raise MiniFlinkError(
        f"{spec.label} builds another job than the supervisor: {_first_difference(mine, spec.fingerprint)}",
        help="a job must not depend on time, chance, or what differs between processes",
    )


def _first_difference(mine: list[Any], theirs: list[Any]) -> str:
    for one, other in zip(mine, theirs, strict=False):
        if one != other:
            return f"{one} here, {other} there"
    return f"{len(mine)} operators here, {len(theirs)} there"

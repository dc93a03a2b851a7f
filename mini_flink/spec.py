"""What the supervisor tells a process at its birth: one JSON file, whose path is the only argument.

Everything that a worker or gateway needs to be one of many: who it is, which job, where its folders and its
peers are. Written by the supervisor (``supervisor/spec.py``), read once by the process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mini_flink.errors import JobError, MiniFlinkError
from mini_flink.graph import JobGraph

SERVE, PAUSED, STANDBY, TRIAL = "serve", "paused", "standby", "trial"
SPARE = "--spare"
"""In the place of a specification's path: who the process is, it will be told."""
_FIELDS = ("uid", "kind", "name", "parallelism", "inputs", "options")
"""The words for the parts of a fingerprint's entries."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of a job.

    ``name`` is that in channels (``w0``), ``role`` and ``index`` that for people (``worker 0``). ``peers``
    maps the names of the processes that hold records to (incarnation, endpoint). ``numbers`` maps operator
    uids to their durable numbers, also those that the job no longer has. ``fingerprint`` is the graph as the
    supervisor built it. ``listen_fd`` and ``alive_fd`` are inherited descriptors; EOF on the latter means
    that the supervisor is gone. ``boot``: this is the process's first start in this run. ``parallelisms`` are
    those that a rescale set. ``mode`` says how it begins: ``"serve"``, ``"paused"`` (a worker runs nothing, a
    gateway lets nobody in, before it is told to go), ``"standby"`` (a gateway does not even accept), or
    ``"trial"`` (a worker keeps nothing of what it does). ``draining``: a gateway refuses whoever comes, until
    it is told otherwise. ``task`` is what a resharder is to do. ``sources`` is the file with the user's
    modules as they are to be run; empty: as they are on disk now. ``page_url`` is where the page of operators
    is.
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
    parallelisms: dict[str, int] = field(default_factory=dict)
    mode: str = "serve"
    task: dict[str, Any] = field(default_factory=dict)
    draining: bool = False
    listen_fd: int = -1
    sources: str = ""
    job_name: str = ""
    page_url: str = ""
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
    def log(self) -> str:
        """How it is to speak, which it must know before it has read its settings."""
        return str(self.settings.get("log", "auto"))

    @property
    def label(self) -> str:
        """How people call this process: ``worker 0``."""
        return f"{self.role} {self.index}"


@dataclass(frozen=True, slots=True)
class AdminSpec:
    """What the admin process is told: it asks for everything else. ``token`` is empty if none is wanted.

    ``payloads``: whether it shows what records and state hold. ``limits``: those that are not the usual ones.
    """

    job: str
    url: str
    admin_url: str
    host: str
    port: int
    token: str
    data_dir: str
    console_lock: str
    log: str
    listen_fd: int
    alive_fd: int
    payloads: bool = True
    limits: str = ""

    @classmethod
    def read(cls, path: str) -> AdminSpec:
        """The spec in ``path``."""
        return cls(**json.loads(Path(path).read_text()))


def check_fingerprint(spec: ProcessSpec, graph: JobGraph) -> None:
    """Every process must have built the same job; JobError names the first operator that differs."""
    mine, theirs = graph.fingerprint(), spec.fingerprint
    if mine == theirs:
        return
    pairs = enumerate(zip_longest(mine, theirs))
    number, (one, other) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    raise JobError(
        f"{spec.label} builds another job than the supervisor: "
        f"operator {number + 1} {_difference(one, other)} in the supervisor",
        help="a job must not depend on time, chance, or what differs between processes",
        location=graph.nodes[min(number, len(graph.nodes) - 1)].location,
    )


def _difference(one: list[Any] | None, other: list[Any] | None) -> str:
    """How two entries of a fingerprint differ, in words that go on ``in the supervisor``."""
    if one is None or other is None:
        here, there = (f"is {_title(entry)}" if entry else "does not exist" for entry in (one, other))
        return f"{here} here and {there}"
    if _title(one) != _title(other):
        return f"is {_title(one)} here and {_title(other)}"
    what = next(word for word, own, its in zip(_FIELDS, one, other, strict=True) if own != its)
    if what == "parallelism":
        return f"is {_title(one)}, with parallelism {one[3] or 'default'} here and {other[3] or 'default'}"
    return f"is {_title(one)}, with other {what} here than"


def _title(entry: list[Any]) -> str:
    """``map 'map-5'``."""
    uid, kind, name = entry[:3]
    return f"{kind} {uid!r}" if name in (uid, kind) else f"{kind} {uid!r} ({name})"

"""What a process is told when it is started: one JSON file in the runtime folder, its path in ``argv``.

Fields: role, index, name, incarnation, generation, folder_id, job (JobTarget.as_dict), settings
(Settings.as_dict), data_dir, folder (a worker's own), runtime_dir, console_lock, endpoint,
supervisor_endpoint, peers {name: [incarnation, endpoint]} (all workers and gateways), workers, gateways,
max_parallelism, numbers {uid: operator number}, fingerprint, page_path, listen_fd (gateways), alive_fd (a
pipe that ends when the supervisor does), boot (this is the process's first start in this run).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mini_flink.config import Settings
from mini_flink.folder import DataFolder, storage_error
from mini_flink.jobs import JobTarget
from mini_flink.transport.base import ipc_endpoint


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What all processes of one run share."""

    settings: Settings
    job: JobTarget
    job_name: str
    workers: int
    gateways: int
    max_parallelism: int
    numbers: Mapping[str, int]
    fingerprint: list[Any]
    operator_names: Mapping[int, str]
    data_dir: str
    runtime_dir: str
    folder_id: int
    generation: int

    def endpoint(self, name: str, incarnation: int) -> str:
        """Where one incarnation of a process listens."""
        return ipc_endpoint(self.runtime_dir, name, incarnation)


def common_fields(plan: ServerPlan, supervisor_endpoint: str, alive_fd: int) -> dict[str, Any]:
    """The part of a spec that is the same for every process of a run."""
    return {
        "format": 1,
        "generation": plan.generation,
        "folder_id": plan.folder_id,
        "job": plan.job.as_dict(),
        "settings": plan.settings.as_dict(),
        "data_dir": plan.data_dir,
        "runtime_dir": plan.runtime_dir,
        "console_lock": os.path.join(plan.runtime_dir, "console.lock"),
        "supervisor_endpoint": supervisor_endpoint,
        "workers": plan.workers,
        "gateways": plan.gateways,
        "max_parallelism": plan.max_parallelism,
        "numbers": dict(plan.numbers),
        "fingerprint": plan.fingerprint,
        "alive_fd": alive_fd,
    }


def write_spec(plan: ServerPlan, fields: Mapping[str, Any]) -> str:
    """Write one process's spec; its path."""
    path = _spec_path(plan, fields["name"], fields["incarnation"])
    try:
        with open(path, "w") as file:
            json.dump(fields, file)
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def remove_remains(plan: ServerPlan, name: str, incarnation: int) -> None:
    """Remove the spec and the socket of a dead incarnation."""
    socket_path = plan.endpoint(name, incarnation).removeprefix("ipc://")
    for path in (_spec_path(plan, name, incarnation), socket_path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def process_fields(folder: DataFolder, role: str, index: int, name: str) -> dict[str, Any]:
    """The part of a spec that names the process; a worker's folder is made if need be."""
    return {
        "role": role,
        "index": index,
        "name": name,
        "folder": folder.process_folder(name) if role == "worker" else None,
        "page_path": folder.page_path(name),
    }


def _spec_path(plan: ServerPlan, name: str, incarnation: int) -> str:
    return os.path.join(plan.runtime_dir, f"{name}.{incarnation}.json")

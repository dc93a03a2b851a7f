"""From what a run decided to what each process is told: one JSON file per start, in the runtime folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mini_flink.config import Settings
from mini_flink.errors import storage_error
from mini_flink.folder import DataFolder
from mini_flink.jobs import JobTarget
from mini_flink.spec import ProcessSpec
from mini_flink.supervisor.members import Member
from mini_flink.transport.base import ipc_endpoint


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What all processes of one run share.

    ``numbers`` holds every operator that the folder has ever seen. ``sources`` is the file with the user's
    modules as they were when this job was started, or upgraded to. ``locations`` and ``key_names`` are for
    people: where each operator was made, what the key of an edge is called.
    """

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
    parallelisms: Mapping[str, int] = field(default_factory=dict)
    sources: str = ""
    locations: Mapping[str, str] = field(default_factory=dict)
    key_names: Mapping[str, str] = field(default_factory=dict)

    def endpoint(self, name: str, incarnation: int) -> str:
        """Where one incarnation of a process listens."""
        return ipc_endpoint(self.runtime_dir, name, incarnation)

    @property
    def console_lock(self) -> str:
        """The file that keeps the lines of the processes apart."""
        return os.path.join(self.runtime_dir, "console.lock")


def build_spec(
    plan: ServerPlan,
    folder: DataFolder,
    member: Member,
    *,
    supervisor_endpoint: str,
    peers: Mapping[str, list[Any]],
    gateway_slots: int,
    alive_fd: int,
    listen_fd: int,
    draining: bool,
    page_url: str = "",
) -> ProcessSpec:
    """What the next incarnation of a member is told. ``gateway_slots``: all slots are below that."""
    return ProcessSpec(
        role=member.role,
        index=member.index,
        name=member.name,
        incarnation=member.incarnation,
        generation=plan.generation,
        folder_id=plan.folder_id,
        job=plan.job.as_dict(),
        settings=plan.settings.as_dict(),
        data_dir=plan.data_dir,
        folder=folder.process_folder(member.name, plan.generation) if member.role == "worker" else None,
        runtime_dir=plan.runtime_dir,
        console_lock=plan.console_lock,
        page_path=member.page_path,
        endpoint=member.endpoint,
        supervisor_endpoint=supervisor_endpoint,
        peers=dict(peers),
        workers=plan.workers,
        gateways=gateway_slots,
        max_parallelism=plan.max_parallelism,
        numbers=dict(plan.numbers),
        fingerprint=plan.fingerprint,
        alive_fd=alive_fd,
        boot=not member.policy.was_ready,
        parallelisms=dict(plan.parallelisms),
        mode=member.mode,
        task=dict(member.task),
        draining=draining,
        listen_fd=listen_fd,
        sources=plan.sources,
        job_name=plan.job_name,
        page_url=page_url,
    )


def write_spec(plan: ServerPlan, spec: ProcessSpec) -> str:
    """Write one process's spec; its path."""
    path = _spec_path(plan, spec.name, spec.incarnation)
    try:
        with open(path, "w") as file:
            json.dump(asdict(spec), file)
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def remove_remains(plan: ServerPlan, name: str, incarnation: int) -> None:
    """Remove the spec and the socket of a dead incarnation."""
    socket_path = plan.endpoint(name, incarnation).removeprefix("ipc://")
    for path in (_spec_path(plan, name, incarnation), socket_path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _spec_path(plan: ServerPlan, name: str, incarnation: int) -> str:
    return os.path.join(plan.runtime_dir, f"{name}.{incarnation}.json")

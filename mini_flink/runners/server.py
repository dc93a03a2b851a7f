"""``serve``: from settings and a job to a running server, in order.

Everything that can be refused is refused before the first process is started, the port before anything else:
nobody should wait for an import to hear that it is taken. Linux only. Called by the command line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing

import setproctitle

from mini_flink import __version__, console, faults
from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.folder import DataFolder, Start, default_folder, read_run
from mini_flink.graph import JobGraph
from mini_flink.ids import SUPERVISOR
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.supervisor.cores import cores_at_hand
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.listeners import SUPERVISOR_TITLE, Listeners
from mini_flink.supervisor.loop import Supervisor
from mini_flink.supervisor.members import CHILD_MODULES, Origin
from mini_flink.supervisor.runtime_folder import make_runtime_folder, remove_runtime_folder
from mini_flink.supervisor.spec import ServerPlan
from mini_flink.supervisor.words import Started, banner
from mini_flink.transport.zmq import ZmqTransport
from mini_flink.worker.background import ThreadBackground


def serve(settings: Settings, job: JobTarget, *, child_modules: Mapping[str, str] = CHILD_MODULES) -> int:
    """Serve ``job`` until it is told to stop; the exit code. What cannot be started raises MiniFlinkError.

    ``child_modules`` puts other programs in the place of workers and gateways, for tests of the supervisor.
    """
    setproctitle.setproctitle(SUPERVISOR_TITLE)
    faults.enable(SUPERVISOR)
    with closing(ExitStack()) as stack:
        return _assemble(stack, settings, job, child_modules).run()


def _assemble(
    stack: ExitStack, settings: Settings, job: JobTarget, child_modules: Mapping[str, str]
) -> Supervisor:
    """Take hold of everything, in order; ``stack`` gives it back in the opposite one."""
    began_s = time.monotonic()
    listeners = Listeners.open(settings.host, settings.port)
    stack.callback(listeners.close)
    origin = Origin(os.getcwd(), dict(os.environ))
    graph = load_graph(job, quiet=False)
    folder = _open_folder(settings, graph, origin.directory)
    stack.callback(folder.close)
    plan = _decide(settings, job, graph, folder, _runtime_dir(settings, folder, origin, stack))
    listeners.share_among(plan.gateways)
    console.install("", plan.console_lock)
    folder.begin_run(settings.durability, plan.fingerprint)
    stack.callback(folder.end_run)
    transport = ZmqTransport()
    stack.callback(transport.close)
    fleet = Fleet(plan, folder, listeners, transport, origin, child_modules)
    stack.callback(fleet.close)
    url = listeners.address.url
    say_ready = _banner(plan, graph, url, began_s, is_new=folder.is_new)
    return Supervisor(
        plan, folder, fleet, transport, url=url, banner=say_ready, background=ThreadBackground()
    )


def _open_folder(settings: Settings, graph: JobGraph, directory: str) -> DataFolder:
    path = settings.data_dir or default_folder(graph.name)
    start = Start(
        job=graph.name,
        max_parallelism=graph.max_parallelism,
        durability=settings.durability,
        workers=settings.workers,
        default_workers=cores_at_hand(),
        accept_inconsistent_state=settings.accept_inconsistent_state,
    )
    # The job's top level may have gone elsewhere.
    return DataFolder.open(os.path.join(directory, path), start)


def _runtime_dir(settings: Settings, folder: DataFolder, origin: Origin, stack: ExitStack) -> str:
    """A new runtime folder; that of a supervisor that was killed is removed."""
    run = read_run(folder.path)
    if run is not None:
        remove_runtime_folder(str(run.get("runtime_dir", "")))
    path = make_runtime_folder(settings.runtime_dir, folder.record.folder_id, origin.environment)
    stack.callback(remove_runtime_folder, path)
    return path


def _decide(
    settings: Settings, job: JobTarget, graph: JobGraph, folder: DataFolder, runtime_dir: str
) -> ServerPlan:
    """The numbers of processes and operators; a graph that makes no plan is refused here."""
    numbers = folder.number_operators(node.uid for node in graph.nodes)
    parallelisms = folder.record.parallelisms
    plan = plans.build(graph, folder.record.workers, numbers, parallelisms)
    return ServerPlan(
        settings=settings,
        job=job,
        job_name=graph.name,
        workers=folder.record.workers,
        gateways=settings.gateways or cores_at_hand(),
        max_parallelism=graph.max_parallelism,
        numbers=folder.record.operators,
        fingerprint=graph.fingerprint(),
        operator_names={number: node.name for number, node in plan.operators.items()},
        data_dir=folder.path,
        runtime_dir=runtime_dir,
        folder_id=folder.record.folder_id,
        generation=folder.record.generation,
        parallelisms=parallelisms,
    )


def _banner(
    plan: ServerPlan, graph: JobGraph, url: str, began_s: float, *, is_new: bool
) -> Callable[[int], str]:
    """What to say once it is true; it is told how many commits were redone."""
    job_doc = str(getattr(sys.modules["__main__"], "__doc__", None) or "")

    def say(redone: int) -> str:
        return banner(
            Started(
                version=__version__,
                graph=graph,
                job_doc=job_doc,
                url=url,
                workers=plan.workers,
                gateways=plan.gateways,
                durability=plan.settings.durability,
                data_dir=plan.data_dir,
                is_new=is_new,
                redone=redone,
                seconds=time.monotonic() - began_s,
            )
        )

    return say

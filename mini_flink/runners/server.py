"""``serve``: from settings and a job to a running server, in order.

Everything that can be refused is refused before the first process is started, the port before anything else:
nobody should wait for an import to hear that it is taken. What becomes of the state that is there is
``arrival``'s to say. Linux only. Called by the command line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace

import setproctitle

from mini_flink import __version__, console, faults
from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.drawings.captions import key_names, locations
from mini_flink.errors import ConfigError, IncompatibleError
from mini_flink.folder import DataFolder, Start, default_folder, read_run
from mini_flink.graph import JobGraph
from mini_flink.ids import SUPERVISOR
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.pinned import PinnedSources
from mini_flink.runners.arrival import Arrival, arrive, fit
from mini_flink.snapshots.location import is_url
from mini_flink.source import short_path
from mini_flink.supervisor.admin import AdminDoor, AdminKeeper, is_loopback, open_door
from mini_flink.supervisor.cores import cores_at_hand
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.listeners import SUPERVISOR_TITLE, Listeners
from mini_flink.supervisor.loop import Supervisor
from mini_flink.supervisor.members import CHILD_MODULES, Origin
from mini_flink.supervisor.notify import getting_on
from mini_flink.supervisor.reloader import Reloader, in_short
from mini_flink.supervisor.runtime_folder import (
    hold_runtime_folder,
    make_runtime_folder,
    remove_runtime_folder,
)
from mini_flink.supervisor.spec import ServerPlan
from mini_flink.supervisor.words import Started, banner
from mini_flink.tracing.opening import check_tracing
from mini_flink.transport.zmq import ZmqTransport
from mini_flink.worker.background import ThreadBackground

_AS_FOUND = Arrival()
DEV_PROCESSES = 1
"""Of workers and of gateways, under ``--dev``: one of each starts, and reloads, soonest."""


def serve(
    settings: Settings,
    job: JobTarget,
    arrival: Arrival = _AS_FOUND,
    *,
    child_modules: Mapping[str, str] = CHILD_MODULES,
    sources: PinnedSources | None = None,
) -> int:
    """Serve ``job`` until it is told to stop; the exit code. What cannot be started raises MiniFlinkError.

    ``child_modules`` puts other programs in the place of workers and gateways, for tests of the supervisor.
    ``sources`` gets what is read of the user's files, also if they do not load.
    """
    check_tracing(settings)
    setproctitle.setproctitle(SUPERVISOR_TITLE)
    faults.enable(SUPERVISOR)
    if console.choose(settings.log, os.environ):
        console.install("", "")  # programs read it: what the job prints while it is loaded is an object, too
    with closing(ExitStack()) as stack:
        server = _Server(stack, settings, job, arrival, child_modules, sources or PinnedSources())
        with getting_on("starting: the state that is there is looked at"):
            arrive(server.folder, server.graph, server.settings, arrival, server.origin.directory)
        try:
            return server.run()
        except IncompatibleError:
            # States are declared by ``open``, which only workers run: no fingerprint shows another type.
            allowed = arrival.allow_dropped_state
            with getting_on("starting: state moves to where the changed job has it"):
                fit(server.folder, server.graph, server.settings, allow_dropped=allowed)
            return server.run()


class _Server:
    """All that is taken hold of, in order; ``stack`` gives it back in the opposite one."""

    def __init__(
        self,
        stack: ExitStack,
        settings: Settings,
        job: JobTarget,
        arrival: Arrival,
        child_modules: Mapping[str, str],
        sources: PinnedSources,
    ) -> None:
        self._began_s = time.monotonic()
        self._job = job
        self._arrival = arrival
        self._child_modules = child_modules
        self._listeners = Listeners.open(settings.host, settings.port)
        stack.callback(self._listeners.close)
        if settings.dev:
            _refuse_strangers(self._listeners.address.host)
        self.origin = Origin(os.getcwd(), dict(os.environ))
        self._door = (
            open_door(settings, self.origin, self._listeners.take_admin()) if settings.admin else None
        )
        if self._door is not None:
            stack.callback(self._door.close)
        self.settings = _placed(settings, self.origin.directory)
        self._sources = sources
        self.graph = load_graph(job, quiet=False, sources=self._sources)
        self.folder = _open_folder(self.settings, self.graph, self.origin.directory, arrival)
        console.name_job(self.graph.name)
        stack.callback(self.folder.close)
        _say_if_it_was_upgraded(self.folder, job)
        self._listeners.share_among(_gateways(settings))
        self._is_new = self.folder.is_new
        self._restored = ""

    def run(self) -> int:
        """Start everything, and serve."""
        with closing(ExitStack()) as stack:
            return self._assemble(stack).run()

    def _assemble(self, stack: ExitStack) -> Supervisor:
        folder, listeners = self.folder, self._listeners
        runtime_dir = _runtime_dir(self.settings, folder, self.origin, stack)
        plan = _decide(self.settings, self._job, self.graph, folder, runtime_dir)
        plan = replace(plan, sources=self._sources.write(runtime_dir, plan.generation))
        say_ready = self._banner(plan)
        console.install("", plan.console_lock)
        folder.begin_run(self.settings.durability, plan.fingerprint, self._job.words)
        stack.callback(folder.end_run)
        transport = ZmqTransport()
        stack.callback(transport.close)
        door = self._door
        admin_url = door.url if door else None
        modules = self._child_modules
        fleet = Fleet(plan, folder, listeners, transport, self.origin, modules, admin_url=admin_url)
        stack.callback(fleet.close)
        return Supervisor(
            plan,
            folder,
            fleet,
            transport,
            url=listeners.address.url,
            banner=say_ready,
            background=ThreadBackground(),
            admin=self._admin_keeper(door, plan, stack) if door else None,
            reloader=self._reloader(plan) if self.settings.dev else None,
        )

    def _reloader(self, plan: ServerPlan) -> Reloader:
        return Reloader(plan, allow_dropped=self._arrival.allow_dropped_state)

    def _watched(self) -> str:
        """The files whose change brings a new version: the job's first."""
        files = [short_path(file) for file in self._sources.texts()]
        return in_short([os.path.basename(file) if os.path.isabs(file) else file for file in files])

    def _admin_keeper(self, door: AdminDoor, plan: ServerPlan, stack: ExitStack) -> AdminKeeper:
        keeper = AdminKeeper(door, plan, self._listeners.address.url, self.origin)
        stack.callback(keeper.close)
        return keeper

    def _banner(self, plan: ServerPlan) -> Callable[[int], str]:
        """What to say once it is true; it is told how many commits were redone."""
        job_doc = str(getattr(sys.modules["__main__"], "__doc__", None) or "")
        record = self.folder.record
        self._restored = record.restored if record.untouched else self._restored

        def say(redone: int) -> str:
            return banner(
                Started(
                    version=__version__,
                    graph=self.graph,
                    job_doc=job_doc,
                    url=self._listeners.address.url,
                    workers=plan.workers,
                    gateways=plan.gateways,
                    durability=plan.settings.durability,
                    data_dir=plan.data_dir,
                    is_new=self._is_new,
                    redone=redone,
                    seconds=time.monotonic() - self._began_s,
                    restored=self._restored,
                    page=self._door.url if self._door else "",
                    reloads=self._watched() if self.settings.dev else "",
                )
            )

        return say


def _placed(settings: Settings, directory: str) -> Settings:
    """With the snapshots' folder as seen from where the command was typed, wherever it is looked at."""
    location = settings.snapshot_dir
    if location is None or is_url(location):
        return settings
    return replace(settings, snapshot_dir=os.path.join(directory, location))


def _gateways(settings: Settings) -> int:
    return settings.gateways or (DEV_PROCESSES if settings.dev else cores_at_hand())


def _refuse_strangers(host: str) -> None:
    """What ``--dev`` tells clients is for nobody else."""
    if not is_loopback(host):
        raise ConfigError(
            f"--dev shows source code and records to whoever asks, and {host} can be reached by others",
            help="leave --dev out, or listen where only this host can ask: --host 127.0.0.1",
        )


def _open_folder(settings: Settings, graph: JobGraph, directory: str, arrival: Arrival) -> DataFolder:
    path = settings.data_dir or default_folder(graph.name)
    start = Start(
        job=graph.name,
        max_parallelism=graph.max_parallelism,
        durability=settings.durability,
        workers=settings.workers,
        default_workers=DEV_PROCESSES if settings.dev else cores_at_hand(),
        restores=arrival.restore is not None,
    )
    # The job's top level may have gone elsewhere.
    return DataFolder.open(os.path.join(directory, path), start)


def _say_if_it_was_upgraded(folder: DataFolder, job: JobTarget) -> None:
    """A start by the command of before an upgrade, as an init system gives it, brings the old code back."""
    last, since = folder.record.served_from, folder.record.upgraded_at
    if since and last != job.words:
        console.event(
            "info",
            f"this folder was last served from {last} (upgraded to at {since}); now from {job.words}",
            name="folder.served_from_other",
            last=last,
        )


def _runtime_dir(settings: Settings, folder: DataFolder, origin: Origin, stack: ExitStack) -> str:
    """A new runtime folder; that of a supervisor that was killed is removed."""
    run = read_run(folder.path)
    if run is not None:
        remove_runtime_folder(str(run.get("runtime_dir", "")))
    path = make_runtime_folder(settings.runtime_dir, folder.record.folder_id, origin.environment)
    stack.callback(remove_runtime_folder, path)
    stack.callback(os.close, hold_runtime_folder(path))
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
        gateways=_gateways(settings),
        max_parallelism=graph.max_parallelism,
        numbers=folder.record.operators,
        fingerprint=graph.fingerprint(),
        operator_names={number: node.name for number, node in plan.operators.items()},
        data_dir=folder.path,
        runtime_dir=runtime_dir,
        folder_id=folder.record.folder_id,
        generation=folder.record.generation,
        parallelisms=parallelisms,
        locations=locations(graph),
        key_names=key_names(graph),
    )

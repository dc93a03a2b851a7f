"""``serve``: from settings and a job to a running server, in order; everything that can be refused is refused
before the first process is started.

The port is taken first, so that nobody waits for an import to hear that it is not free. Linux only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

from mini_flink import __version__, console, plan
from mini_flink.config import Settings
from mini_flink.errors import ConfigError
from mini_flink.folder import DataFolder, Start, default_folder, read_run
from mini_flink.graph import JobGraph
from mini_flink.jobs import JobTarget, load_graph


def serve(settings: Settings, job: JobTarget) -> int:
    """Serve a job until it is told to stop; the exit code. What cannot be started raises a MiniFlinkError."""
    if sys.platform != "linux":
        raise ConfigError(
            "serve needs Linux", help=f"to try the job in one process, without durability: {job.command}"
        )
    return run_server(settings, job)


def run_server(settings: Settings, job: JobTarget, *, child_modules: Mapping[str, str] | None = None) -> int:
    """The same with other programs in the place of workers and gateways."""
    # Loaded here: the command line must start on every system.
    import setproctitle

    from mini_flink.supervisor.cores import cores_at_hand
    from mini_flink.supervisor.fleet import Fleet
    from mini_flink.supervisor.listeners import SUPERVISOR_TITLE, Listeners
    from mini_flink.supervisor.loop import Supervisor
    from mini_flink.supervisor.members import CHILD_MODULES, Origin
    from mini_flink.supervisor.runtime_folder import make_runtime_folder, remove_runtime_folder
    from mini_flink.transport.zmq import ZmqTransport

    began = time.monotonic()
    setproctitle.setproctitle(SUPERVISOR_TITLE)
    with ExitStack() as stack:
        listeners = Listeners.open(settings.host, settings.port)
        stack.callback(listeners.close)
        origin = Origin(os.getcwd(), dict(os.environ))
        graph = load_graph(job, quiet=False)
        cores = cores_at_hand()
        folder = _open_folder(settings, graph, origin.directory, cores)
        stack.callback(folder.close)
        ...
    return 0

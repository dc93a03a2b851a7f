"""``serve --dev`` while there is no server yet: a job that does not load is waited for, not given up.

What Python has loaded of a job cannot be taken back, so the next attempt is this command anew, in the place
of this process: same process id, same terminal. Called by the command line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from mini_flink import console
from mini_flink.config import Settings
from mini_flink.errors import (
    EXIT_CONFIG,
    FolderError,
    IncompatibleError,
    JobError,
    MigrationError,
    MiniFlinkError,
)
from mini_flink.jobs import JobTarget
from mini_flink.pinned import PinnedSources
from mini_flink.runners.arrival import Arrival
from mini_flink.runners.server import serve
from mini_flink.supervisor.reloader import shown
from mini_flink.supervisor.sources_watch import POLL_MS, SourcesWatch

MENDED = (JobError, IncompatibleError, MigrationError)
"""What a change of the job's files may mend."""

Show = Callable[[MiniFlinkError], None]


def develop(settings: Settings, job: JobTarget, arrival: Arrival, show: Show) -> int:
    """Serve ``job``, once it can be served; ``show`` says why it cannot. The exit code.

    Raises what no change of the job would mend.
    """
    environment, directory = dict(os.environ), os.getcwd()  # the job's top level may change both
    sources = PinnedSources()
    try:
        code = serve(settings, job, arrival, sources=sources)
    except MiniFlinkError as error:
        if not isinstance(error, MENDED) or not sources.texts():
            raise
        if isinstance(error, FolderError):
            error.help += "; or begin with new state: --data-dir FOLDER"
        show(error)
        code = error.exit_code
    if code != EXIT_CONFIG:
        return code
    _wait(sources)
    return _begin_anew(environment, directory)


def _wait(sources: PinnedSources) -> None:
    """Until one of the job's files is another than it was."""
    watch = SourcesWatch(sources, loaded=False)
    said = f"waiting for a change of {shown(watch.files)}   (Ctrl-C stops)"
    console.event("info", said, name="reload.waiting", files=watch.files)
    while not (changed := watch.step(time.monotonic_ns() // 1_000_000)):
        time.sleep(POLL_MS / 1000)
    console.event("info", f"trying again: {shown(changed)} changed", name="reload.begun", files=changed)


def _begin_anew(environment: dict[str, str], directory: str) -> int:
    console.finish()
    os.chdir(directory)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - this command

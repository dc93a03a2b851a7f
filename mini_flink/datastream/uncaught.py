"""``python job.py``: a job that cannot be built ends with a few lines, as under ``serve``, not a traceback.

Only where a job is Python's own main program and nobody has taken it over: never in a server's processes, in
tests, or at a prompt.
"""

from __future__ import annotations

import sys
from types import TracebackType

from mini_flink import execution
from mini_flink.datastream.location import user_module
from mini_flink.errors import Location, MiniFlinkError
from mini_flink.source import users_frames


def say_errors_in_short() -> None:
    """Take the place of Python's own hook, if that is still there."""
    prompted = hasattr(sys, "ps1") or sys.flags.interactive
    is_job = user_module() == "__main__" and execution.is_alone() and not prompted
    if is_job and sys.excepthook is sys.__excepthook__:
        sys.excepthook = _say


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, MiniFlinkError):
        sys.__excepthook__(kind, error, trace)
        return
    from mini_flink.failures import render_error  # a job that can be built does without

    users = users_frames(trace)
    if error.location is None and users:
        error.location = Location(users[-1].file, users[-1].line, users[-1].function)
    sys.stderr.write(render_error(error))
    raise SystemExit(error.exit_code)  # Python ends with this code when a hook raises it

"""Runs code as on a system that is not Linux: what only Linux has cannot be imported and is not in ``os``.

``python -m tests.portability.blocked PLATFORM CODE``. Python's own modules still get what they need of it:
the block is for everybody else.
"""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import sys
from typing import Any

MODULES = frozenset(
    {"fcntl", "grp", "lmdb", "posix", "pwd", "resource", "setproctitle", "termios", "tty", "uvloop", "zmq"}
)
OS_NAMES = ("O_DIRECTORY", "fdatasync", "fork", "pidfd_open", "pread", "pwrite", "sched_getaffinity")

CHOOSE_THEMSELVES = (
    "asyncio",
    "click",
    "multiprocessing.connection",
    "tempfile",
    "uvicorn.protocols.http.httptools_impl",
)
"""Those of others that have code for each system and load it by what ``sys.platform`` says."""

_import = builtins.__import__


def _import_or_not(name: str, globals: Any = None, *rest: Any, **named: Any) -> Any:
    importer = str((globals or {}).get("__name__", "")).partition(".")[0]
    if name.partition(".")[0] in MODULES and importer not in sys.stdlib_module_names:
        raise ModuleNotFoundError(f"{importer} imports {name}, which is not there", name=name)
    return _import(name, globals, *rest, **named)


def block(platform: str) -> None:
    """From here on this process is somewhere else."""
    for name in CHOOSE_THEMSELVES:
        importlib.import_module(name)
    for name in OS_NAMES:
        if hasattr(os, name):
            delattr(os, name)
    for name in ("pidfd_send_signal", "SIGHUP"):
        delattr(signal, name)
    sys.platform = platform
    builtins.__import__ = _import_or_not


if __name__ == "__main__":
    block(sys.argv[1])
    exec(sys.argv[2], {"__name__": "user"})

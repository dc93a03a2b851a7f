"""Builds the recording library and says how to start a process under it.

    subprocess.run([...], env=os.environ | recorder.environment(folder, trace))

The process's writes, syncs and renames below ``folder`` are appended to ``trace``; what it writes to
``folder/.mark`` stands between them as marks, and with ``sends`` what goes out on its sockets. images.py
reads it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("recorder.c")
MARK = ".mark"


def available() -> bool:
    """Whether this machine can build it: Linux with a C compiler."""
    return os.uname().sysname == "Linux" and shutil.which("cc") is not None


@cache
def _build_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="powercut-")  # removed when the test run ends


@cache
def build() -> Path:
    """The library, built once per test run."""
    target = Path(_build_folder().name) / "recorder.so"
    flags = ["-O1", "-Wall", "-Wextra", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(target), str(SOURCE), "-ldl"], check=True)
    return target


def environment(folder: Path, trace: Path, *, sends: bool = False, sync_us: int = 0) -> dict[str, str]:
    """What to add to the environment of a process whose files are below ``folder``, which must exist.

    ``sync_us`` is how much longer than it would every sync takes.
    """
    variables = {
        "LD_PRELOAD": str(build()),
        "POWERCUT_FOLDER": str(folder.resolve()),
        "POWERCUT_TRACE": str(trace.resolve()),
        "POWERCUT_SYNC_US": str(sync_us),
    }
    return variables | ({"POWERCUT_SENDS": "1"} if sends else {})


def mark(folder: Path, payload: bytes) -> None:
    """Puts ``payload`` into the trace; for the traced process itself."""
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, payload)
    finally:
        os.close(descriptor)

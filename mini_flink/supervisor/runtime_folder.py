"""The runtime folder: short, private, for sockets and process specs; nothing in it outlives the server.

It is named by the folder id, below the first usable one of: the setting, systemd's RUNTIME_DIRECTORY, the
user's XDG_RUNTIME_DIR, /tmp.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping

from mini_flink.errors import ConfigError

_PREFIX = "mini_flink-"


def make_runtime_folder(setting: str | None, folder_id: int, environment: Mapping[str, str]) -> str:
    """An empty folder that only this user can enter."""
    if setting is not None:
        return _private(os.path.abspath(setting), folder_id, make_base=True)
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        base = environment.get(variable, "").split(":")[0]
        if base and os.access(base, os.W_OK | os.X_OK):
            return _private(base, folder_id)
    return tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")


def _private(base: str, folder_id: int, *, make_base: bool = False) -> str:
    path = os.path.join(base, f"{_PREFIX}{folder_id:08x}")
    try:
        if make_base:
            os.makedirs(base, mode=0o700, exist_ok=True)
        remove_runtime_folder(path)
        os.mkdir(path, 0o700)
    except OSError as error:
        raise ConfigError(
            f"the runtime folder {path} cannot be made: {error.strerror}",
            help="choose one that this user can write to with --runtime-dir",
        ) from error
    return path


def hold_runtime_folder(path: str) -> int:
    """Keep systemd-tmpfiles, which removes what is old, away from it until this descriptor is closed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def remove_runtime_folder(path: str) -> None:
    """Remove a runtime folder with what a dead server left in it; anything else is left alone."""
    if not os.path.basename(path).startswith(_PREFIX):
        return
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
        shutil.rmtree(path)

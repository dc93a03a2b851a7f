"""The lock of a folder: one process at a time, the holder named in the file.

``flock`` belongs to the open file: it lasts while a process is stopped and ends when it dies. The file says
who holds it, by process id and start time. The supervisor locks the data folder and is refused if another
one has it; a worker locks its own folder, and whoever still holds that is the leftover of a dead supervisor:
it is killed, and its end awaited, before the lock is taken. Linux only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time

from mini_flink import procfs
from mini_flink.errors import BusyError, FolderError
from mini_flink.procfs import Process

EVICTION_S = 10.0
_POLL_S = 0.02


class FolderLock:
    """Held until :meth:`release` or the end of this process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def acquire(cls, path: str) -> FolderLock:
        """Take the lock at ``path``; BusyError with the holder's id if it is held."""
        fd = _open(path)
        if not _try_lock(fd):
            holder = _holder(fd)
            os.close(fd)
            raise _busy(path, holder)
        return cls._taken(fd)

    @classmethod
    def evict(cls, path: str) -> FolderLock:
        """Take the lock at ``path`` from a leftover process, which is killed; BusyError if it will not go."""
        fd = _open(path)
        deadline = time.monotonic() + EVICTION_S
        while not _try_lock(fd):
            holder = _holder(fd)
            if time.monotonic() > deadline:
                os.close(fd)
                raise _busy(path, holder)
            if holder is None or not _kill(holder, deadline - time.monotonic()):
                time.sleep(_POLL_S)
        return cls._taken(fd)

    @classmethod
    def _taken(cls, fd: int) -> FolderLock:
        me = procfs.current_process()
        content = json.dumps({"format": 1, "pid": me.pid, "start_time": me.start_time}).encode()
        os.pwrite(fd, content, 0)
        os.ftruncate(fd, len(content))
        return cls(fd)

    def release(self) -> None:
        """Let others have it."""
        os.close(self._fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderError(
            f"{os.path.dirname(path)} is not writable: {error.strerror}",
            help="give this user write access, or choose another --data-dir",
        ) from error


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_holder(path: str) -> Process | None:
    """Who took the lock at ``path`` last; None if nobody did. Whoever only looks takes no lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _written_down(fd)
    finally:
        os.close(fd)


def _holder(fd: int) -> Process | None:
    """Who wrote itself down; None while it has not yet, or if it is gone."""
    holder = _written_down(fd)
    return holder if holder is not None and procfs.is_alive(holder) else None


def _written_down(fd: int) -> Process | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        content = json.loads(os.pread(fd, 4096, 0))
        return Process(int(content["pid"]), int(content["start_time"]))
    return None


def _kill(process: Process, wait_s: float) -> bool:
    """Kill exactly this process and wait for its end."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # The id may have gone to another process before the descriptor pinned it.
        if not procfs.is_alive(process):
            return True
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return bool(select.select([pidfd], [], [], max(0.0, wait_s))[0])
    except (PermissionError, ProcessLookupError):
        return False
    finally:
        os.close(pidfd)


def _busy(path: str, holder: Process | None) -> BusyError:
    folder = os.path.dirname(path)
    if holder is None:
        return BusyError(
            f"{folder} is in use by another process", help="stop it, or choose another --data-dir"
        )
    return BusyError(
        f'{folder} is in use by "{procfs.name_of(holder.pid)}" (pid {holder.pid})',
        help="stop it, or choose another --data-dir",
    )

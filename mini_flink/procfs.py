"""What Linux tells about processes under /proc: who lives, since when, under which name, on which port.

Ground floor, for folder locks and the supervisor. Everything is read at the moment of the call and may be
outdated at the next; a process is therefore named by its id *and* its start time. Elsewhere than on Linux
nothing is found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LISTENING = "0A"


class Process(NamedTuple):
    """A process that cannot be confused with a later one of the same id."""

    pid: int
    start_time: int


def current_process() -> Process:
    """This process."""
    return Process(os.getpid(), start_time(os.getpid()) or 0)


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None if there is none, or only its remains."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def parent_of(pid: int) -> int | None:
    """The id of its parent."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def is_alive(process: Process) -> bool:
    """Whether it still runs (a stopped process does)."""
    return start_time(process.pid) == process.start_time


def is_stopped(pid: int) -> bool:
    """Whether it was stopped, as by SIGSTOP; not one that a debugger holds."""
    fields = _stat(pid)
    return fields is not None and fields[0] == "T"


def catches(pid: int, signal_number: int) -> bool:
    """Whether it has a handler for the signal."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal_number - 1) & 1)
    return False


class Usage(NamedTuple):
    """What a process has used of the processor, and holds of memory; ``age_s`` since it began."""

    cpu_s: float
    rss_bytes: int
    age_s: float


def usage(pid: int) -> Usage | None:
    """What a process uses; None if there is none."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    uptime = float(_read("/proc/uptime").split()[0])
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / ticks,
        rss_bytes=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        age_s=max(0.0, uptime - int(fields[19]) / ticks),
    )


def name_of(pid: int) -> str:
    """Its command line, cut short, or its bare name."""
    words = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    name = words or _read(f"/proc/{pid}/comm").strip()
    return name if len(name) <= 60 else name[:59] + "…"


def holder_of_port(port: int) -> int | None:
    """The id of a process that listens on the TCP port, if this user may see it."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    return next((pid for pid in _pids() if links & set(_descriptors(pid))), None)


def _listening_inodes(table: str, port: int) -> Iterator[str]:
    for line in _read(f"/proc/net/{table}").splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]


def _pids() -> Iterator[int]:
    try:
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return


def _descriptors(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:
            continue


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name (which may hold blanks): [0] is the state."""
    text = _read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""

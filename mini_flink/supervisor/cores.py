"""How many cores this process may use: affinity, and the CPU quota of its control group (version 1 or 2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class _Mount(NamedTuple):
    root: str
    point: str
    kind: str
    options: tuple[str, ...]


def cores_at_hand(proc: str = "/proc/self") -> int:
    """At least 1; a quota of one and a half cores counts as two."""
    available = len(os.sched_getaffinity(0))
    quota = min(_quotas(Path(proc)), default=float(available))
    return max(1, min(available, math.ceil(quota)))


def _quotas(proc: Path) -> Iterator[float]:
    """Every limit on the way from this process's group up to the root of its hierarchy, in cores."""
    mounts = list(_mounts(_lines(proc / "mountinfo")))
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        for mount in mounts:
            if not controllers and mount.kind == "cgroup2":
                yield from _present(_quota_2(folder) for folder in _groups(mount, path))
            elif "cpu" in controllers.split(",") and mount.kind == "cgroup" and "cpu" in mount.options:
                yield from _present(_quota_1(folder) for folder in _groups(mount, path))


def _present(values: Iterator[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _mounts(lines: list[str]) -> Iterator[_Mount]:
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if kinds and kinds[0].startswith("cgroup"):
            yield _Mount(fields[3], fields[4], kinds[0], tuple(kinds[-1].split(",")))


def _groups(mount: _Mount, path: str) -> Iterator[Path]:
    """The group's folder and those above it, as far as they are visible from in here."""
    relative = path.removeprefix(mount.root.rstrip("/")).strip("/")
    folder = Path(mount.point, relative) if ".." not in relative else Path(mount.point)
    while True:
        yield folder
        if folder == Path(mount.point):
            return
        folder = folder.parent


def _quota_2(folder: Path) -> float | None:
    fields = " ".join(_lines(folder / "cpu.max")).split()
    return int(fields[0]) / int(fields[1]) if len(fields) == 2 and fields[0] != "max" else None


def _quota_1(folder: Path) -> float | None:
    quota, period = _lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us")
    return int(quota[0]) / int(period[0]) if quota and period and int(quota[0]) > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []

"""How the numbers were: each second for 15 minutes, each minute for a day. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

SECONDS = 900
MINUTES = 1440
_MINUTE_MS = 60_000
_HTTP = ("rps", "err_rate", "shed_rate", "inflight", "p50_us", "p95_us", "p99_us")
_NODE = ("in", "out", "busy", "queue", "errors", "p50_us", "p99_us")
_WORST = ("p50_us", "p95_us", "p99_us", "queue", "inflight", "oldest_ms")
"""A minute shows the worst of these; of all others the mean."""

Point = tuple[int, dict[str, float | None]]


def flatten(tick: Mapping[str, Any]) -> dict[str, float | None]:
    """A tick as named numbers: ``http.rps``, ``node.total.busy``, ``proc.w0.cpu``."""
    values: dict[str, float | None] = {f"http.{name}": tick["http"][name] for name in _HTTP}
    values["dlq.total"] = tick["dlq"]["total"]
    for node in tick["nodes"]:
        values |= {f"node.{node['id']}.{name}": node[name] for name in _NODE}
    for process in tick["procs"]:
        values |= {f"proc.{process['id']}.{name}": process[name] for name in ("cpu", "rss")}
    return values


class History:
    """Two rings of points; the coarse one is fed by the fine one."""

    def __init__(self) -> None:
        self._seconds: deque[Point] = deque(maxlen=SECONDS)
        self._minutes: deque[Point] = deque(maxlen=MINUTES)
        self._open: list[dict[str, float | None]] = []
        self._minute = -1

    def add(self, ts_ms: int, values: dict[str, float | None]) -> None:
        """One more second."""
        minute = ts_ms // _MINUTE_MS
        if minute != self._minute and self._open:
            self._minutes.append((self._minute * _MINUTE_MS, dict(_summary(self._open))))
            self._open = []
        self._minute = minute
        self._open.append(values)
        self._seconds.append((ts_ms, values))

    def series(self, names: list[str], range_s: int, now_ms: int) -> dict[str, list[list[float | None]]]:
        """The points of each name that are not older than ``range_s``, oldest first."""
        ring = self._seconds if range_s <= SECONDS else self._minutes
        since = now_ms - range_s * 1000
        return {name: [[ts, values.get(name)] for ts, values in ring if ts >= since] for name in names}

    def names(self) -> list[str]:
        """The series that there are now."""
        return sorted(self._seconds[-1][1]) if self._seconds else []


def _summary(points: list[dict[str, float | None]]) -> Iterator[tuple[str, float | None]]:
    for name in dict.fromkeys(name for point in points for name in point):
        known = [value for point in points if (value := point.get(name)) is not None]
        if not known:
            yield name, None
        elif name.rpartition(".")[2] in _WORST:
            yield name, max(known)
        else:
            yield name, sum(known) / len(known)

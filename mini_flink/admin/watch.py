"""Once a second: ask the supervisor, read what processes measure, make a tick of it.

The question and the files are read in a thread: a supervisor that is stopped stops nobody who looks. Owns
all that is remembered: the last minute, the history, the last events.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from mini_flink import __version__, procfs
from mini_flink.admin.drawing import Drawing, draw
from mini_flink.admin.history import History, flatten
from mini_flink.admin.sampling import Reading, busiest_of, name_of, tick
from mini_flink.admin.verdict import Busiest, judge
from mini_flink.asking import UnavailableError, query
from mini_flink.metrics import read_metrics

INTERVAL_S = 1.0
_MINUTE_TICKS = 61
_HELLO_POINTS = 120

Tell = Callable[[str, dict[str, Any]], None]


class Watch:
    """What is known of the server; ``tell`` hears of each tick and event."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self.history = History()
        self.ticks: deque[dict[str, Any]] = deque(maxlen=_MINUTE_TICKS)
        self.drawing: Drawing | None = None
        self.reading: Reading | None = None
        self.tell: Tell = lambda *_: None
        self.ready = asyncio.Event()
        self._told_plan: Any = None
        self._seen_event = 0
        self._seq = 0

    async def run(self) -> None:
        """Until cancelled."""
        due_s = time.monotonic()
        while True:
            try:
                reading = await asyncio.to_thread(take_reading, self._data_dir)
            except UnavailableError:
                pass  # nothing is said: whoever looks sees that ticks have stopped
            else:
                self._take(reading)
            due_s = max(due_s + INTERVAL_S, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    def _take(self, reading: Reading) -> None:
        before, self.reading = self.reading, reading
        status = reading.status
        told_plan = [status["plan"], status["durability"]]
        if self.drawing is None or told_plan != self._told_plan:
            self.drawing, self._told_plan = draw(status, __version__), told_plan
        self._seq += 1
        one = tick(before, reading, self.drawing, self._seq)

        def busiest(process: str) -> Busiest | None:
            found = busiest_of(before, reading, process) if before else None
            return None if found is None else Busiest(*found)

        names = {node["id"]: node["name"] for node in self.drawing.public["nodes"]}
        one["verdict"] = judge([*self.ticks, one], busiest, names)
        self.ticks.append(one)
        self.history.add(reading.ts_ms, flatten(one))
        for event in status["events"]:
            if event["number"] > self._seen_event:
                self._seen_event = event["number"]
                self.tell("event", event)
        self.tell("tick", one)
        self.ready.set()

    @property
    def last(self) -> dict[str, Any]:
        """The last tick."""
        return self.ticks[-1]

    def hello(self) -> dict[str, Any]:
        """What a page gets first."""
        assert self.drawing is not None
        names = [name for name in self.history.names() if name.startswith("http.")]
        last = self.ticks[-1]
        return {
            "schema": 1,
            "job": self.drawing.public["job"],
            "plan_hash": self.drawing.hash,
            "server_ts": time.time_ns() // 1_000_000,
            "interval_ms": round(INTERVAL_S * 1000),
            "read_only": False,
            "history": self.history.series(names, _HELLO_POINTS, last["ts"]),
            "events": list(self.reading.status["events"]) if self.reading else [],
            "tick": last,
        }


def take_reading(data_dir: str) -> Reading:
    """How everything stands now; UnavailableError if the supervisor does not answer."""
    status = query(data_dir)
    processes = [process for process in status["processes"] if process["pid"]]
    usage = {process["pid"]: procfs.usage(process["pid"]) for process in processes}
    space = os.statvfs(data_dir)
    return Reading(
        at_s=time.monotonic(),
        ts_ms=time.time_ns() // 1_000_000,
        status=status,
        metrics={name_of(process): read_metrics(process["metrics"])
                 for process in processes if process["metrics"]},
        usage={pid: used for pid, used in usage.items() if used is not None},
        disk_used=round(1 - space.f_bavail / space.f_blocks, 4) if space.f_blocks else None,
    )  # fmt: skip

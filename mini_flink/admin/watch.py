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
from typing import Any, NamedTuple

from mini_flink import __version__, procfs
from mini_flink.admin.conditions import conditions
from mini_flink.admin.drawing import Drawing, draw
from mini_flink.admin.history import History, flatten
from mini_flink.admin.sampling import Reading, name_of, subtasks_of, tick
from mini_flink.admin.states import States, label
from mini_flink.admin.trends import Filling
from mini_flink.admin.verdict import judge
from mini_flink.asking import UnavailableError, query
from mini_flink.limits import DEFAULT, Limits
from mini_flink.metrics import read_metrics

INTERVAL_S = 1.0
_KEPT_TICKS = 120
_MINUTE_TICKS = 61
_HELLO_PARTS = ("seq", "ts", "dt_ms", "http", "dlq", "verdict")

Tell = Callable[[str, dict[str, Any]], None]


class Known(NamedTuple):
    """What is known of the server as of the last second."""

    drawing: Drawing
    reading: Reading
    tick: dict[str, Any]


class Watch:
    """What is known of the server; ``tell`` hears of each tick and event."""

    def __init__(self, data_dir: str, limits: Limits = DEFAULT) -> None:
        self._data_dir = data_dir
        self.history = History()
        self.ticks: deque[dict[str, Any]] = deque(maxlen=_KEPT_TICKS)
        self.known: Known | None = None
        self.begun = asyncio.Event()
        """Something is known."""
        self._drawing: Drawing | None = None
        self._before: Reading | None = None
        self.tell: Tell = lambda *_: None
        self._told_plan: Any = None
        self._seen_event = 0
        self._seq = 0
        self._filling = Filling()
        self._states = States()
        self._limits = limits

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
        before = self._before = self.known.reading if self.known else None
        status = reading.status
        told_plan = [status["plan"], status["durability"]]
        drawing = self._drawing
        if drawing is None or told_plan != self._told_plan:
            drawing, self._told_plan = draw(status, __version__, self._limits), told_plan
            self._drawing = drawing
        self._seq += 1
        one = tick(before, reading, drawing, self._seq)

        self._filling.add(reading.at_s, reading.disk_used)
        one["disk"]["full_in_s"] = self._filling.full_in_s()
        window = [*self.ticks, one][-_MINUTE_TICKS:]
        holding = self._states.step(conditions(window, self._limits, drawing.public))
        label(one, holding)
        one["verdict"] = judge(one, holding)
        self.ticks.append(one)
        self.known = Known(drawing, reading, one)
        self.begun.set()
        self.history.add(reading.ts_ms, flatten(one))
        for event in status["events"]:
            if event["number"] > self._seen_event:
                self._seen_event = event["number"]
                self.tell("event", event)
        self.tell("tick", one)

    def subtasks(self, uid: str) -> list[dict[str, Any]]:
        """The subtasks of an operator, as of the last second."""
        return subtasks_of(self._before, self.known.reading, uid) if self.known else []

    def hello(self) -> dict[str, Any]:
        """What a page gets first."""
        known = self.known
        if known is None:
            raise RuntimeError("nothing is known of the server yet")
        return {
            "schema": 1,
            "job": known.drawing.public["job"],
            "plan_hash": known.drawing.hash,
            "server_ts": time.time_ns() // 1_000_000,
            "interval_ms": round(INTERVAL_S * 1000),
            "history": [{name: one[name] for name in _HELLO_PARTS} for one in self.ticks],
            "events": list(known.reading.status["events"]),
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
        disk_used=1 - space.f_bavail / space.f_blocks if space.f_blocks else None,
    )  # fmt: skip

"""A saved file of the job becomes the version that serves: what ``serve --dev`` asks of a running server.

The way is that of an upgrade (``changeover``): the state stays, clients wait, and a version that does not
load leaves the one before where it is. One that takes for ever is called off when a file is saved again.
Decides only when; ``loop`` asks it in every turn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mini_flink import console
from mini_flink.errors import MiniFlinkError
from mini_flink.pinned import PinnedSources
from mini_flink.source import short_path
from mini_flink.supervisor.changeover import RELOAD
from mini_flink.supervisor.desk import Question
from mini_flink.supervisor.sources_watch import SourcesWatch
from mini_flink.supervisor.spec import ServerPlan

SHOWN_FILES = 3
SLOW_MS = 3_000
"""After so long it is said that the job still loads."""


class Reloader:
    """Watches the sources of the job that serves. With ``allow_dropped`` state that it lets go of may go."""

    def __init__(self, plan: ServerPlan, *, allow_dropped: bool) -> None:
        self._allow_dropped = allow_dropped
        self._generation = plan.generation
        self._watch = SourcesWatch(PinnedSources.read(plan.sources), loaded=True)
        self._slow_due_ms = 0
        self._is_slow = False

    def due_ms(self) -> int:
        """When ``step`` is to be called next."""
        return self._watch.due_ms()

    def step(self, plan: ServerPlan, now_ms: int) -> Question | None:
        """The question for a reload, if one is due. To be called only while nothing else is being changed."""
        if plan.generation != self._generation:  # somebody has upgraded, or rescaled
            self._generation = plan.generation
            self._watch.ended(PinnedSources.read(plan.sources), loaded=True)
        changed = self._watch.step(now_ms)
        if not changed:
            return None
        console.event("info", f"reloading: {shown(changed)} changed", name="reload.begun", files=changed)
        self._slow_due_ms, self._is_slow = now_ms + SLOW_MS, False
        data = {"what": RELOAD, "job": plan.job.as_dict(), "allow_dropped_state": self._allow_dropped}
        return Question(RELOAD, data, _nobody_listens, self._take_end)

    def step_loading(self, plan: ServerPlan, read: str, now_ms: int) -> str:
        """While the reload that it asked for is under way: why to call that off; empty: it is to go on.

        ``read`` is where stands which files it has come to.
        """
        if now_ms >= self._slow_due_ms:
            self._slow_due_ms = now_ms + SLOW_MS
            if not self._is_slow:
                self._is_slow = True
                job = short_path(plan.job.target)
                said = f"still loading {job}: does its top level return? A save begins anew"
                console.event("warn", said, name="reload.slow")
            with suppress(MiniFlinkError):  # it has not come to any
                self._watch.reads(PinnedSources.read(read))
        newer = self._watch.overtaken(now_ms)
        return f"{shown(newer)} changed meanwhile" if newer else ""

    def _take_end(self, told: Mapping[str, Any]) -> None:
        """What has become of it; ``told`` names what was read for it, if that is known."""
        if "sources" not in told:  # it could not even begin
            console.event("warn", f"not reloaded: {told['reason']}", name="changeover.failed", kind=RELOAD)
        path = str(told.get("sources", ""))
        sources = None
        with suppress(MiniFlinkError):
            sources = PinnedSources.read(path) if path else None
        self._watch.ended(sources, loaded=bool(told["ok"]))
        self._generation = int(told.get("generation", self._generation))


def shown(places: list[str]) -> str:
    """Files for people: ``job.py, prices.py``; a folder in which one is new as ``./``."""
    return in_short([_shown(os.path.abspath(place)) for place in places])


def in_short(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN_FILES
    names = names[:SHOWN_FILES] if more > 0 else names
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _shown(place: str) -> str:
    if not os.path.isdir(place):
        return short_path(place)
    return "./" if place == os.getcwd() else f"{short_path(place)}/"


def _nobody_listens(_: Mapping[str, Any]) -> None:
    """Steps on the way are not said."""

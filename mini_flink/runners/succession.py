"""The next generation of a data folder, made while nobody serves, and the moment from which it counts.

Called by whoever has found out what belongs in it: ``arrival`` and ``restore``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mini_flink import console
from mini_flink.config import Settings
from mini_flink.core.backlog import Source
from mini_flink.faults import crash_point
from mini_flink.folder import DataFolder
from mini_flink.graph import JobGraph
from mini_flink.runners.generations import GenerationBuilder
from mini_flink.runners.rebuild import Rebuild

SAY_EVERY_S = 1.0
_LOOK_ITEMS = 4096


def succeed(
    folder: DataFolder,
    graph: JobGraph,
    rebuild: Rebuild,
    sources: Sequence[Source],
    settings: Settings,
    *,
    epoch: int,
    **changes: Any,
) -> None:
    """Move what is in ``sources`` into the next generation, and switch to it with ``changes`` of the record.

    After any error, or a crash before the switch, nothing has changed.
    """
    progress = Progress("state is being moved")
    watched = [_Watched(source, progress) for source in sources]
    generation, path = folder.draft_generation()
    workers = rebuild.plan.workers
    try:
        with closing(GenerationBuilder(Path(path), generation, workers, settings.state_map_bytes)) as builder:
            rebuild.copy(watched, builder)
            crash_point("mid_restore")
            rebuild.close(watched, epoch, builder)
            crash_point("after_restore_build")
    except BaseException:
        folder.drop_draft()
        raise
    folder.switch(
        workers=workers,
        operators=dict(rebuild.operators),
        next_operator=rebuild.next_operator,
        parallelisms=dict(rebuild.parallelisms),
        fingerprint=graph.fingerprint(),
        epoch=epoch,
        clean=True,  # all of it is synced, whatever the durability was
        **changes,
    )
    crash_point("after_switch")
    folder.remove_older_generations()


class Progress:
    """Says every second how far something is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._items = 0
        self._due_s = time.monotonic() + SAY_EVERY_S

    def advance(self, items: int) -> None:
        """``items`` more are done."""
        self._items += items
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + SAY_EVERY_S
            said = f"{self._what}: {self._items:,} items so far"
            console.event("info", said, name="state.progress", items=self._items)


class _Watched:
    """A source that says how far its reader is."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source = source
        self._progress = progress

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._counted(self._source.scan(prefix))

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        return self._counted(self._source.range(start, stop))

    def _counted(self, items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        left = _LOOK_ITEMS
        for item in items:
            yield item
            left -= 1
            if not left:
                left = _LOOK_ITEMS
                self._progress.advance(_LOOK_ITEMS)

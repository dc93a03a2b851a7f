"""The next generation of a data folder, made while nobody serves, and the moment from which it counts.

Called by whoever has found out what belongs in it: ``arrival`` and ``restore``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mini_flink import console
from mini_flink.bar import Bar
from mini_flink.config import Settings
from mini_flink.faults import crash_point
from mini_flink.folder import DataFolder
from mini_flink.graph import JobGraph
from mini_flink.runners.generations import GenerationBuilder
from mini_flink.runners.headway import Counted, watched
from mini_flink.runners.rebuild import Rebuild


def succeed(
    folder: DataFolder,
    graph: JobGraph,
    rebuild: Rebuild,
    sources: Sequence[Counted],
    settings: Settings,
    *,
    epoch: int,
    **changes: Any,
) -> None:
    """Move what is in ``sources`` into the next generation, and switch to it with ``changes`` of the record.

    After any error, or a crash before the switch, nothing has changed.
    """
    bar = _bar()
    counted = watched(sources, lambda done, total: bar.show(done, total, "items"))
    generation, path = folder.draft_generation()
    workers = rebuild.plan.workers
    try:
        with closing(GenerationBuilder(Path(path), generation, workers, settings.state_map_bytes)) as builder:
            rebuild.copy(counted, builder)
            crash_point("mid_restore")
            rebuild.close(counted, epoch, builder)
            crash_point("after_restore_build")
    except BaseException:
        folder.drop_draft()
        raise
    finally:
        bar.close()
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


def _bar() -> Bar:
    """Nobody serves yet: a line that is redrawn, or an event now and then."""

    def say(text: str) -> None:
        console.event("info", text, name="state.progress", items=bar.done, of=bar.total)

    bar = Bar("state is being moved", say=say, is_drawn=not console.is_json())
    return bar

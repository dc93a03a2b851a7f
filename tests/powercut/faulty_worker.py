"""The shipped worker process with a planted mistake: ``python -m tests.powercut.faulty_worker SPEC MISTAKE``.

``no_sync``: commits are written and not synced. ``send_before_commit``: what a batch sends leaves before its
commit is written. ``no_rewrite`` and ``no_table_sync``: what recovery read, from the log or from the table,
is trusted to be on disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from mini_flink.worker.process import main
from tests.simulation.mutants import MUTANTS, replaced


@contextmanager
def no_sync() -> Iterator[None]:
    def sync(self: FileLog) -> None:
        self._unsynced = False

    with replaced(FileLog, "sync", sync):
        yield


@contextmanager
def no_rewrite() -> Iterator[None]:
    def rewrite(self: FileLog, records: Iterable[tuple[int, bytes]]) -> None:
        """Goes on in a new segment behind the old ones."""
        self._active = self._make_segment(self._segment_bytes)
        self._active.last_number = self._after + len(list(records))
        self._found = []

    with replaced(FileLog, "rewrite", rewrite):
        yield


MISTAKES = {
    "no_table_sync": lambda: replaced(LmdbTable, "sync", lambda self: None),
    "no_sync": no_sync,
    "no_rewrite": no_rewrite,
    "send_before_commit": MUTANTS["send_before_commit"],
}

if __name__ == "__main__":
    with MISTAKES[sys.argv[2]]():
        sys.exit(main(sys.argv))

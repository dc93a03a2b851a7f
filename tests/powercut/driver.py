"""A process that commits and flushes in the right order, or with a planted mistake; run under the recorder.

    python -m tests.powercut.driver FOLDER COMMITS [MISTAKE]

A mistake is "no sync", "acknowledged before the sync", "output before the rewrite" or "table not synced in
recovery".

Each promise (a commit acknowledged, a recovery that is done) is a mark: the number up to which all is
promised.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from random import Random

from mini_flink.state.lmdb import LmdbTable
from mini_flink.state.log import FileLog
from tests.powercut import recorder
from tests.state.store import Changes, State, Store, folded


def changes(number: int) -> Changes:
    """What commit ``number`` changes; some are several sectors long."""
    rng = Random(number)
    keys = [f"{rng.randrange(40)}{'x' * rng.choice([0, 0, 30, 700])}" for _ in range(rng.randint(1, 9))]
    return {key: rng.choice([None, number, number, number]) for key in keys}


def state_after(number: int) -> State:
    """The state that ``number`` commits leave."""
    return folded(changes(each) for each in range(1, number + 1))


def open_devices(
    folder: Path, *, durable: bool = True, table: type[LmdbTable] = LmdbTable
) -> tuple[FileLog, LmdbTable]:
    opened = table(folder / "table", map_size_bytes=1 << 26)
    return FileLog(folder / "log", segment_bytes=16384, durable=durable), opened


class MarkedStore(Store):
    """A store that marks its promises."""

    def __init__(self, folder: Path, mistake: str | None = None) -> None:
        self.folder = folder
        self.mistake = mistake
        table = _NeverSynced if mistake == "table not synced in recovery" else LmdbTable
        super().__init__(*open_devices(folder, durable=mistake != "no sync", table=table))

    def promise(self, number: int) -> None:
        recorder.mark(self.folder, b"%d" % number)

    def secure(self, tail: list[tuple[int, bytes]]) -> None:
        if self.mistake == "output before the rewrite":
            self.promise(self.table.commit_number + len(tail))
        super().secure(tail)
        self.promise(self.log.next_number - 1)

    def commit(self, changes: Changes) -> int:
        if self.mistake == "acknowledged before the sync":
            self.promise(self.log.next_number)
        number = super().commit(changes)
        self.promise(number)
        return number


class _NeverSynced(LmdbTable):
    def sync(self) -> None:
        """The planted mistake."""


def work(store: Store, commits: int) -> None:
    """Commits, and flushes in a thread meanwhile."""
    writer: threading.Thread | None = None
    for index in range(commits):
        store.commit(changes(store.log.next_number))
        if index % 9 == 5:
            writer = threading.Thread(target=store.freeze())
            writer.start()
        if writer is not None and index % 9 == 8:
            writer.join()
            store.flushed()
            writer = None
    if writer is not None:
        writer.join()


def main() -> None:
    folder, commits, mistake = Path(sys.argv[1]), int(sys.argv[2]), " ".join(sys.argv[3:]) or None
    work(MarkedStore(folder, mistake), commits)


if __name__ == "__main__":
    main()

"""Which process is stuck: a machine without I/O that is shown every process about once a second.

A loop that runs user code says so on its progress page; the same entry for longer than the limit is a hang.
A process that was stopped (SIGSTOP) does not move either. It only judges; the supervisor warns and kills.
"""

from __future__ import annotations

from dataclasses import dataclass

from mini_flink import progress
from mini_flink.progress import Entry

WARN_AFTER_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stuck:
    """A process that does not get on. ``kill``: for too long. ``operator`` is 0 if that is not known."""

    what: str
    seconds: float
    operator: int
    kill: bool


class HangWatch:
    """The watch over one incarnation of one process."""

    def __init__(self, hang_timeout_ms: int) -> None:
        self._limit_ns = hang_timeout_ms * 1_000_000
        self._seen: Entry | None = None
        self._stopped_since_ns: int | None = None
        self._warned: object = None

    @property
    def stopped_since_ns(self) -> int | None:
        """Since when the process has been seen stopped; None: it was not, when it was looked at last."""
        return self._stopped_since_ns

    def look(self, entry: Entry | None, stopped: bool, now_ns: int) -> Stuck | None:
        """What to say or do, each thing once; None: nothing."""
        if stopped:
            self._stopped_since_ns = since = self._stopped_since_ns or now_ns
            return self._judge("stopped", "stopped", since, now_ns, 0, may_kill=True)
        self._stopped_since_ns = None
        before, self._seen = self._seen, entry
        # Seen twice alike: a page is read without locks, one reading may be half of each of two entries.
        if entry is None or entry != before:
            return None
        what = f"busy with one record ({progress.STAGES[entry.stage]})"
        if entry.stage == progress.COMMIT:
            what = "waiting for the disk"
        if entry.stage == progress.ASKING:
            what = f"waiting for {entry.asked}"
        may_kill = entry.stage in (progress.USER_CODE, progress.ASKING)
        return self._judge(entry, what, entry.since_ns, now_ns, entry.operator, may_kill=may_kill)

    def _judge(
        self, subject: object, what: str, since_ns: int, now_ns: int, operator: int, *, may_kill: bool
    ) -> Stuck | None:
        age_ns = now_ns - since_ns
        kill = may_kill and 0 < self._limit_ns <= age_ns
        if not kill and (age_ns < WARN_AFTER_NS or self._warned == subject):
            return None
        self._warned = subject
        return Stuck(what, age_ns / 1e9, operator, kill)

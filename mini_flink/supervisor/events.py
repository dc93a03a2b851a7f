"""What the supervisor has said lately, for whoever looks later: a small ring, newest last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

KEPT = 200


class EventRing:
    """The last events of one run; each has a number that only grows."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0
        self._snapshots = (0, 0)

    def note(self, kind: str, severity: str, text: str, process: str = "") -> None:
        """Something happened that an operator may look for; ``process`` is its name, such as ``w0``."""
        self._count += 1
        self._events.append(
            {
                "number": self._count,
                "ts": time.time_ns() // 1_000_000,
                "kind": kind,
                "severity": severity,
                "process": process,
                "text": text,
            }
        )

    def note_snapshots(self, facts: Mapping[str, Any]) -> None:
        """What has become of snapshots since the last call, by the counts of them."""
        completed, failed = self._snapshots
        self._snapshots = facts["completed"], facts["failed"]
        if facts["completed"] > completed and facts["last"]:
            last = facts["last"]
            text = f"{last['kind']} {last['id']}: {last['total_bytes']} bytes in {last['duration_ms']} ms"
            self.note("snapshot", "ok", text)
        if facts["failed"] > failed:
            self.note("snapshot_failed", "warn", f"a snapshot failed: {facts['last_failure']}")

    def report(self) -> list[dict[str, Any]]:
        """All that is kept, oldest first."""
        return list(self._events)

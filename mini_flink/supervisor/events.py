"""What the supervisor has said lately, for whoever looks later: a small ring, newest last."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from mini_flink.events import SHOWN

KEPT = 200


class EventRing:
    """The last events of one run; each has a number that only grows."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0

    def note(self, name: str, severity: str, text: str, process: str = "", kind: str = "") -> None:
        """Something happened that an operator may look for. ``name`` is that of the log, ``process`` such as
        ``w0``; ``kind`` is the word it is shown by, if that is not the usual one of its name.
        """
        self._count += 1
        self._events.append(
            {
                "number": self._count,
                "ts": time.time_ns() // 1_000_000,
                "name": name,
                "kind": kind or SHOWN[name],
                "severity": severity,
                "process": process,
                "text": text,
            }
        )

    def report(self) -> list[dict[str, Any]]:
        """All that is kept, oldest first."""
        return list(self._events)

"""A line for each request, for somebody who watches: so many a second, and the rest as a count.

A machine: it is told the time and returns text. Used under ``serve --dev`` only.
"""

from __future__ import annotations

from mini_flink.failures import printable

LINES_A_SECOND = 20
"""As many as an eye follows; a terminal that is slow must not make requests slow."""
URL_LIMIT = 120
KEY_LIMIT = 60


class AccessLog:
    """Says which requests were answered, and how."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._said = 0
        self._unsaid = 0

    def answered(self, request: str, status: int, ms: float, key: str, now_s: float) -> list[str]:
        """What to say of a request, ``POST /total``, that was answered now."""
        said = self.due(now_s)
        if self._said >= LINES_A_SECOND:
            self._unsaid += 1
            return said
        self._said += 1
        which = f"   key {printable(key, KEY_LIMIT)}" if key else ""
        return [*said, f"{printable(request, URL_LIMIT)}   {status}   {ms:.1f} ms{which}"]

    def due(self, now_s: float) -> list[str]:
        """The count of those that were not said, once the second is over."""
        if now_s - self._since_s < 1:
            return []
        unsaid, self._unsaid = self._unsaid, 0
        self._since_s, self._said = now_s, 0
        return [f"… and {unsaid} more requests within a second"] if unsaid else []

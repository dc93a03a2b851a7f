"""When a job whose files are being edited is to be loaded again: a machine without files and clocks.

It compares texts, not times: what was loaded last, and what the files hold now. A save that changes nothing
is none, several quick ones are one, and one that comes while the job is being loaded counts when that is
over. What did not load is not tried again before something is different.

Called by ``supervisor.sources_watch``.
"""

from __future__ import annotations

from collections.abc import Mapping

QUIET_MS = 100
"""How long nothing must have changed any more: an editor may write a file in pieces, or several files."""

Texts = Mapping[str, str]
"""What stands in which place, as digests; a place that does not exist is left out."""


class ReloadPolicy:
    """``tried`` is what was loaded last: places that are not in it do not matter."""

    def __init__(self, tried: Texts) -> None:
        self._tried = dict(tried)
        self._changed: Texts = {}
        self._changed_ms = 0
        self._loading: Texts | None = None

    def look(self, found: Texts, now_ms: int) -> list[str]:
        """Which places have changed, once that has lasted; from then on the job counts as being loaded.

        A file that is gone is no change by itself: its text goes on, and an editor may be about to bring a
        new one.
        """
        changed = {place: text for place, text in found.items() if self._tried.get(place, text) != text}
        if changed != self._changed:
            self._changed, self._changed_ms = changed, now_ms
        if not changed or self._loading is not None or now_ms - self._changed_ms < QUIET_MS:
            return []
        self._loading = dict(found)
        return sorted(changed)

    @property
    def settling(self) -> bool:
        """Whether something has changed, and it is waited for the end of that."""
        return bool(self._changed) and self._loading is None

    def ended(self, tried: Texts | None = None) -> None:
        """The job was loaded, or could not be: from ``tried``, or None if that is only known by ``look``."""
        self._tried = dict(self._loading or self._tried if tried is None else tried)
        self._loading = None

    def noticed(self, place: str) -> str | None:
        """What stood in a place when the job began to be loaded."""
        return (self._loading or {}).get(place)

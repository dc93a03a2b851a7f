"""When a job whose files are being edited is to be loaded again: a machine without files and clocks.

It compares texts, not times: what was loaded last, and what the files hold now. A save that changes nothing
is none, several quick ones are one, and one that comes while the job is being loaded overtakes it: what
is loaded then is called off, and it counts when that is over. What did not load is not tried again before
something is different.

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
        self.overtaken: list[str] = []
        """Places that hold something else, and have for long enough, than what is being loaded."""

    def look(self, found: Texts, now_ms: int) -> list[str]:
        """Which places have changed, once that has lasted; from then on the job counts as being loaded.

        A file that is gone is no change by itself: its text goes on, and an editor may be about to bring a
        new one.
        """
        changed = {place: text for place, text in found.items() if self._tried.get(place, text) != text}
        if changed != self._changed:
            self._changed, self._changed_ms = changed, now_ms
        has_lasted = now_ms - self._changed_ms >= QUIET_MS
        loading = self._loading
        if loading is not None:
            newer = [place for place, text in found.items() if loading.get(place, text) != text]
            self.overtaken = sorted(newer) if has_lasted else []
        if not changed or loading is not None or not has_lasted:
            return []
        self._loading = dict(found)
        return sorted(changed)

    def reads(self, texts: Texts) -> None:
        """What is being loaded has read more places than were known when that began."""
        if self._loading is not None:
            self._loading = {**texts, **self._loading}
            self._tried = {**texts, **self._tried}

    def ended(self, tried: Texts | None = None) -> None:
        """The job was loaded, or could not be: from ``tried``, or None if that is only known by ``look``."""
        self._tried = dict(self._loading or self._tried if tried is None else tried)
        self._loading = None
        self.overtaken = []

    def noticed(self, place: str) -> str | None:
        """What stood in a place when the job began to be loaded."""
        return (self._loading or {}).get(place)

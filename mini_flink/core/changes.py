"""Which keys have changed since a mark: what an incremental snapshot, or the tail of a copy, has to hold.

Fed with the keys of each layer that is frozen; never looks at values. What it cannot tell (too many keys, or
the process was started again since) it says so, and the caller takes everything instead.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_KEYS = 500_000
"""Keys that are remembered at most, about 130 bytes each: with more, everything is cheaper than a list."""


class ChangedKeys:
    """Sets of keys between marks.

    >>> changed = ChangedKeys()
    >>> changed.mark(7)
    >>> changed.note([b"a"])
    >>> changed.mark(8)
    >>> changed.note([b"b"])
    >>> sorted(changed.since(7)), sorted(changed.since(8)), changed.since(6)
    ([b'a', b'b'], [b'b'], None)
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._since: dict[int | str, set[bytes]] = {}

    def mark(self, label: int | str, already: Iterable[bytes] = ()) -> None:
        """From here on ``since(label)`` can tell; ``already`` counts as changed after it."""
        self._since.pop(label, None)
        self._since[label] = set(already)

    def note(self, keys: Iterable[bytes]) -> None:
        """These have changed now."""
        if not self._since:
            return
        newest = next(reversed(self._since.values()))
        newest.update(keys)
        while self._since and sum(map(len, self._since.values())) > self._max_keys:
            del self._since[next(iter(self._since))]

    def since(self, label: int | str, until: int | str | None = None) -> set[bytes] | None:
        """The keys that have changed since a mark (and before another one); None if that is not known.

        Not to be changed by who gets it.
        """
        if label not in self._since:
            return None
        labels = list(self._since)
        end = labels.index(until) if until in self._since else len(labels)
        between = labels[labels.index(label) : end]
        if end < len(labels) and len(between) == 1:
            return self._since[label]  # nothing is added to it any more, and it may be large
        return set().union(*(self._since[later] for later in between))

    def forget_before(self, label: int | str) -> None:
        """Nobody will ask for anything older than this mark."""
        while label in self._since and next(iter(self._since)) != label:
            del self._since[next(iter(self._since))]

    def forget(self, label: int | str) -> None:
        """Nobody will ask for this mark again; its keys still count for those before it."""
        labels = list(self._since)
        if label in self._since:
            keys, place = self._since.pop(label), labels.index(label)
            if place:  # a new set: somebody may be reading the old one
                self._since[labels[place - 1]] = self._since[labels[place - 1]] | keys

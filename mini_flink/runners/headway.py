"""How far a reader of stored state is: sources that count what is read from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

LOOK_ITEMS = 4096

Advance = Callable[[int], None]


class Counted(Protocol):
    """A source that knows, about, how many items it has."""

    @property
    def entries(self) -> int: ...
    def scan(self, prefix: bytes) -> Iterable[tuple[bytes, bytes]]: ...
    def range(self, start: bytes, stop: bytes | None) -> Iterable[tuple[bytes, bytes]]: ...


def watched(sources: Sequence[Counted], tell: Callable[[int, int], None]) -> list[Watched]:
    """The same sources; ``tell`` hears now and then how many items were read, and of about how many."""
    total, done = sum(source.entries for source in sources), 0

    def advance(items: int) -> None:
        nonlocal done
        done += items
        tell(done, max(done, total))

    return [Watched(source, advance) for source in sources]


class Watched:
    """A source that says how far its reader is."""

    def __init__(self, source: Counted, advance: Advance) -> None:
        self._source = source
        self._advance = advance

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._counted(self._source.scan(prefix))

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        return self._counted(self._source.range(start, stop))

    def _counted(self, items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        left = LOOK_ITEMS
        for item in items:
            yield item
            left -= 1
            if not left:
                left = LOOK_ITEMS
                self._advance(LOOK_ITEMS)

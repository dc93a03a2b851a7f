"""Dead letters for whoever looks: in groups, page by page, one whole. Read from the workers' tables, beside
them: looking through thousands stops nobody.

``Index`` is pure. A table is open once in a process, so ``Letters`` lets one read at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from mini_flink.admin.guard import Refusal
from mini_flink.errors import MiniFlinkError
from mini_flink.runners import dead_letters
from mini_flink.worker.letters import VALUE_LIMIT, WHOLE_VALUE_LIMIT, shown

ROWS = 100
READ_LIMIT = 100_000
"""Letters that are looked at; what is over it is counted only."""
NOT_SHOWN = "(not shown: admin_payloads is off)"
"""Stands where the message of an error would: it often quotes what the record holds."""
GROUP_LIMIT = 1_000
MESSAGES = 50
FRESH_S = 1.0
SETTLED_S = 0.3
"""What was dropped or retried is out of the table after that."""

_T = TypeVar("_T")


class Place(NamedTuple):
    """Where a letter comes in the order, and where it is found."""

    failed_ms: int
    error_id: str
    group: str
    worker: int


@dataclass(slots=True)
class Group:
    """What failed at one place with one kind of error: messages differ in the values that they name."""

    id: str
    operator: str
    newest: Mapping[str, Any]
    count: int = 0
    first_ms: int = 0
    messages: set[str] = field(default_factory=set)

    def take(self, letter: Mapping[str, Any]) -> None:
        failed_ms = letter["failed_ms"]
        self.count += 1
        self.first_ms = min(self.first_ms or failed_ms, failed_ms)
        if failed_ms >= self.newest["failed_ms"]:
            self.newest = letter
        if len(self.messages) < MESSAGES:
            self.messages.add(letter["error"]["message"])

    def public(self, *, payloads: bool = True) -> dict[str, Any]:
        """For programs: the latest message, and one traceback; without ``payloads`` no message."""
        error = self.newest["error"]
        frames = list(error.get("frames", ()))
        return {
            "group": self.id,
            "operator": self.operator,
            "type": error["type"],
            "message": error["message"] if payloads else NOT_SHOWN,
            "messages": len(self.messages),
            "count": self.count,
            "first_seen": _iso(self.first_ms),
            "last_seen": _iso(self.newest["failed_ms"]),
            "location": frames[-1] if frames else None,
            "traceback": _traceback(error, payloads),
            "error_id": self.newest["error_id"],
        }


class Index:
    """All letters by group and time; what they carry is not kept."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.groups: dict[str, Group] = {}
        self.unread = 0

    def take(self, worker: int, letters: Iterable[Mapping[str, Any]]) -> None:
        """Those of one worker."""
        for letter in letters:
            if len(self.places) >= READ_LIMIT:
                self.unread += 1
                continue
            id = group_id(letter)
            if id not in self.groups and len(self.groups) < GROUP_LIMIT:
                bare = {name: value for name, value in letter.items() if name not in ("key", "value")}
                self.groups[id] = Group(id, letter["operator"], bare)
            if id in self.groups:
                self.groups[id].take({name: letter[name] for name in ("failed_ms", "error_id", "error")})
            self.places.append(Place(letter["failed_ms"], letter["error_id"], id, worker))

    def close(self) -> None:
        """All are there: the newest first."""
        self.places.sort(reverse=True)

    def page(self, operator: str | None, group: str | None, cursor: str | None) -> tuple[list[Place], int]:
        """At most ``ROWS`` behind the cursor, and how many come after them."""
        behind = read_cursor(cursor)
        mine = [
            place
            for place in self.places
            if (group is None or place.group == group)
            and (operator is None or self._operator(place) == operator)
            and (behind is None or (place.failed_ms, place.error_id) < behind)
        ]
        return mine[:ROWS], max(0, len(mine) - ROWS)

    def _operator(self, place: Place) -> str | None:
        group = self.groups.get(place.group)
        return group.operator if group else None

    def errors(self, operator: str | None, *, payloads: bool = True) -> list[dict[str, Any]]:
        """The groups of an operator, or all; those that failed last come first."""
        found = [group for group in self.groups.values() if operator in (None, group.operator)]
        found.sort(key=lambda group: group.newest["failed_ms"], reverse=True)
        return [group.public(payloads=payloads) for group in found[:ROWS]]


def group_id(letter: Mapping[str, Any]) -> str:
    """The same for all letters of one place and one kind of error."""
    error = letter["error"]
    frames = error.get("frames", ())
    where = frames[-1] if frames else error["message"]
    return hashlib.sha256("\0".join((letter["operator"], error["type"], where)).encode()).hexdigest()[:12]


def cursor_of(place: Place) -> str:
    """What to ask with for those behind it."""
    return f"{place.failed_ms}.{place.error_id}"


def read_cursor(text: str | None) -> tuple[int, str] | None:
    """Refusal if it is none that was given out."""
    if not text:
        return None
    time_ms, _, error_id = text.partition(".")
    if not time_ms.isdecimal() or len(time_ms) > 15 or not error_id:
        raise Refusal(400, "bad-cursor", "a cursor is what an answer named as such")
    return int(time_ms), error_id


class Letters:
    """Those of one data folder. ``payloads``: whether keys and values are shown at all."""

    def __init__(self, data_dir: str, *, payloads: bool = True) -> None:
        self._data_dir = data_dir
        self._payloads = payloads
        self._lock = asyncio.Lock()
        self._index: Index | None = None
        self._read_s = 0.0
        self._changed_s = 0.0

    def changed(self) -> None:
        """Some were retried or dropped."""
        self._changed_s = time.monotonic()
        self._index = None

    async def page(self, operator: str | None, group: str | None, cursor: str | None) -> dict[str, Any]:
        """Letters as rows, the newest first."""

        def read(index: Index) -> dict[str, Any]:
            places, more = index.page(operator, group, cursor)
            found = self._rows(places)
            rows = [found[place.error_id] for place in places if place.error_id in found]
            last = cursor_of(places[-1]) if places and more else None
            more += 0 if group or operator else index.unread
            return {"dead_letters": rows, "more": more, "cursor": last, "payloads": self._payloads}

        return await self._with_index(read)

    async def errors(self, operator: str | None) -> dict[str, Any]:
        """The groups."""
        return await self._with_index(
            lambda index: {
                "errors": index.errors(operator, payloads=self._payloads),
                "complete": not index.unread,
            }
        )

    async def one(self, error_id: str) -> dict[str, Any]:
        """One letter whole; Refusal if it is not there."""

        def read() -> dict[str, Any] | None:
            with closing(dead_letters.tables(self._data_dir)) as tables:
                for worker, table in tables:
                    letter = dead_letters.find(table, error_id)
                    if letter is not None:
                        row = row_of(worker, letter, WHOLE_VALUE_LIMIT, payloads=self._payloads)
                        traceback = _traceback(letter["error"], self._payloads)
                        return {**row, "group": group_id(letter), "traceback": traceback}
            return None

        found = await self._read(read)
        if found is None:
            raise Refusal(404, "no-such-dead-letter", f"there is no dead letter {error_id[:40]!r} any more")
        return found

    def _rows(self, places: Iterable[Place]) -> dict[str, dict[str, Any]]:
        by_worker: dict[int, list[Place]] = {}
        for place in places:
            by_worker.setdefault(place.worker, []).append(place)
        found: dict[str, dict[str, Any]] = {}
        with closing(dead_letters.tables(self._data_dir)) as tables:
            for worker, table in tables:
                for place in by_worker.get(worker, ()):
                    letter = dead_letters.find(table, place.error_id)
                    if letter is not None:
                        row = row_of(worker, letter, payloads=self._payloads)
                        found[place.error_id] = {**row, "group": place.group}
        return found

    async def _with_index(self, read: Callable[[Index], _T]) -> _T:
        def work() -> _T:
            if self._index is None or time.monotonic() - self._read_s > FRESH_S:
                self._index = self._read_index()
                self._read_s = time.monotonic()
            return read(self._index)

        return await self._read(work)

    async def _read(self, work: Callable[[], _T]) -> _T:
        async with self._lock:
            await asyncio.sleep(max(0.0, self._changed_s + SETTLED_S - time.monotonic()))
            for attempt in (1, 2):
                try:
                    return await asyncio.to_thread(work)
                except (MiniFlinkError, OSError) as error:
                    # The folder of a generation goes when the next one takes over.
                    if attempt == 2:
                        raise Refusal(503, "not-ready", str(error), {"retry-after": "1"}) from error
        raise AssertionError("two attempts end in an answer or a refusal")

    def _read_index(self) -> Index:
        index = Index()
        with closing(dead_letters.tables(self._data_dir)) as tables:
            for worker, table in tables:
                index.take(worker, dead_letters.of_table(table))
        index.close()
        return index


def row_of(
    worker: int, letter: Mapping[str, Any], limit: int = VALUE_LIMIT, *, payloads: bool
) -> dict[str, Any]:
    """A letter as a row; without ``payloads`` also the message is left out."""
    row = shown(worker, letter, limit)
    if payloads:
        return row
    row["error"] = letter["error"]["type"]
    return {name: row[name] for name in row if name not in ("key", "value")}


def _traceback(error: Mapping[str, Any], payloads: bool) -> list[str]:
    last = f"{error['type']}: {error['message']}" if payloads else error["type"]
    return [*error.get("frames", ()), last]


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")

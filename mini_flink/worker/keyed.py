"""What is in a worker's keyed state: of one key, or page by page in stored order, as of the last commit.

Reads the overlay, and through it the table, between two batches; changes nothing. A page is bounded in rows,
bytes and time, so that nobody waits for it. Called by the worker's loop, and by ``runners.keyed_state`` for
a folder on which no server runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mini_flink import key_text, wire
from mini_flink.errors import EXIT_TRY_AGAIN, EXIT_USAGE, MiniFlinkError, UsageError
from mini_flink.keys import key_group, subtask_of_group
from mini_flink.state import layout
from mini_flink.state.layout import Stored
from mini_flink.state.overlay import Newer, Overlay
from mini_flink.state.position import Position, digest_of
from mini_flink.worker import preview
from mini_flink.worker.worker import Worker

VALUE_LIMIT = 16 * 1024
ROW_LIMIT = 1024
"""How much of a value is shown: of one key, and in a page of many."""
PAGE_ROWS = 1_000
PAGE_BYTES = 256 * 1024
PAGE_S = 0.01
MAP_ENTRIES = 1_000
"""Of a map state that has more, their number is not told: all would have to be read."""
ALIKE = 10_000
"""Long keys that begin alike: so many are looked at for the one behind which a page begins."""
MAP, LIST = "map", "list"


def look(worker: Worker, question: Mapping[str, Any], _now: float) -> dict[str, Any]:
    """Answer a question about the state of a worker that serves."""
    if worker.host.is_held:  # what was changed last is not committed yet, and is in the overlay
        reason = "there is no space for its last commit; it answers when there is"
        return {"reason": reason, "exit_code": EXIT_TRY_AGAIN}
    plan, place = worker.plan, worker.place
    states = KeyedStates(worker.engine.overlay, place.uids, place.index, plan.workers, plan.max_parallelism)
    return states.look(question)


class KeyedStates:
    """The states of one worker. ``uids`` names the operators' numbers."""

    def __init__(
        self, overlay: Overlay, uids: Mapping[int, str], worker: int, workers: int, max_parallelism: int
    ) -> None:
        self._overlay = overlay
        self._worker = worker
        self._workers = workers
        self._max_parallelism = max_parallelism
        self._newer = Newer([])
        stored = [Stored(*wire.unpack(packed)) for _, packed in overlay.scan(layout.REGISTRY)]
        self._states = {
            (uids.get(each.operator, f"number {each.operator}"), each.name): each for each in stored
        }

    def look(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question about keyed state: ``do`` is get or scan.

        With it comes which states there are, so that a name that is none can be told by whoever asked.
        """
        operator, state = question["operator"], question["state"]
        if question["do"] == "get":
            told = self._of_key(question["key"], operator, state)
        elif question["do"] == "scan":
            try:
                told = self._page(operator, state, Position.read(question["after"]), question["limit"])
            except MiniFlinkError as error:
                return {"reason": error.message, "exit_code": EXIT_USAGE}
        else:
            return {"reason": f"state cannot be asked to {question['do']!r}", "exit_code": EXIT_USAGE}
        return {**told, "known": self.known()}

    def known(self) -> list[list[str]]:
        """Each state's operator, name, kind and type."""
        return [[uid, name, each.kind, each.type_text] for (uid, name), each in self._states.items()]

    def parallelism_of(self, operator: str) -> int | None:
        """How many subtasks own the state of an operator; None if it has none here."""
        return next((each.parallelism for (uid, _), each in self._states.items() if uid == operator), None)

    # --- one key ----------------------------------------------------------------------------------------

    def _of_key(self, key: bytes, operator: str | None, state: str | None) -> dict[str, Any]:
        group = key_group(key, self._max_parallelism)
        rows, owners = [], {}
        for (uid, name), stored in sorted(self._states.items()):
            if operator not in (None, uid) or state not in (None, name) or not self._owns(group, stored):
                continue
            owners[uid] = {"operator": uid, **self._where(group, stored)}
            place = layout.state_prefix(group, stored.operator, stored.number) + key
            if stored.kind == MAP:
                self._notice_newer(place, layout.after_prefix(place) or b"")
            found = self._value(place, stored, VALUE_LIMIT)
            if found is not None:
                rows.append(self._row(uid, stored, group, key, found, VALUE_LIMIT))
        return {"states": rows, "owners": list(owners.values())}

    def _owns(self, group: int, stored: Stored) -> bool:
        return self._subtask(group, stored) % self._workers == self._worker

    def _subtask(self, group: int, stored: Stored) -> int:
        return subtask_of_group(group, self._max_parallelism, stored.parallelism)

    def _row(
        self, uid: str, stored: Stored, group: int, key: bytes, value: Mapping[str, Any], limit: int
    ) -> dict[str, Any]:
        text = key_text.written(key)
        return {
            "operator": uid,
            "state": stored.name,
            "kind": stored.kind,
            "type": stored.type_text,
            "key": text if len(text) <= VALUE_LIMIT else f"{text[: limit - 1]}…",
            "key_cut": len(text) > VALUE_LIMIT,
            **value,
            **self._where(group, stored),
        }

    def _where(self, group: int, stored: Stored) -> dict[str, int]:
        return {"key_group": group, "subtask": self._subtask(group, stored), "worker": self._worker}

    # --- a value ----------------------------------------------------------------------------------------

    def _notice_newer(self, start: bytes, stop: bytes) -> None:
        """Once for all entries from ``start`` to ``stop`` that are read next: it looks at every change."""
        self._newer = self._overlay.newer(start, stop)

    def _entries(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._overlay.range(start, stop, self._newer)

    def _value(self, place: bytes, stored: Stored, limit: int) -> dict[str, Any] | None:
        """What a state holds below ``place``; None if nothing."""
        if stored.kind == MAP:
            return self._map(place, limit)
        data = self._overlay.get(place)
        if data is None:
            return None
        seen = preview.of_list(data, limit) if stored.kind == LIST else preview.of_value(data, limit)
        return {**seen, "bytes": len(data), "entries": None}

    def _map(self, place: bytes, limit: int) -> dict[str, Any] | None:
        most = MAP_ENTRIES * limit // VALUE_LIMIT
        items = list(islice(self._entries(place, layout.after_prefix(place) or b""), most + 1))
        if not items:
            return None
        entries = [(key[len(place) :], value) for key, value in items[:most]]
        whole = len(items) <= most
        return {
            **preview.of_map(entries, limit, whole=whole),
            "bytes": sum(len(key) + len(value) for key, value in entries) if whole else None,
            "entries": len(entries) if whole else None,
        }

    # --- a page -----------------------------------------------------------------------------------------

    def _page(self, operator: str, state: str | None, begin: Position, limit: int) -> dict[str, Any]:
        """Rows behind ``begin``, and the cursor with which the next page begins; None: there is no more.

        It ends at the first key group that another worker owns, and may be short: who wants more asks again.
        """
        until = time.monotonic() + PAGE_S
        names = sorted(name for uid, name in self._states if uid == operator and state in (None, name))
        states = [self._states[operator, name] for name in names]
        rows: list[dict[str, Any]] = []
        if not states:
            return {"rows": rows, "after": None}
        end = self._end_of_own(begin.group, states[0])
        self._notice_newer(*_groups(begin.group, end))
        position, size = begin, 0
        while position.group < end:
            for stored in states:
                for key, row in self._behind(position, stored, operator):
                    rows.append(row)
                    size += len(row["text"]) + len(row["json"] or "") + len(row["key"])
                    position = Position.behind(position.group, stored.name, key)
                    if len(rows) >= min(limit, PAGE_ROWS) or size >= PAGE_BYTES or time.monotonic() > until:
                        return {"rows": rows, "after": position.cursor()}
            position = Position(self._next_group(position.group, end))
            if time.monotonic() > until:
                break
        is_end = position.group >= self._max_parallelism
        return {"rows": rows, "after": None if is_end else position.cursor()}

    def _end_of_own(self, group: int, stored: Stored) -> int:
        """The first key group behind ``group`` that is another subtask's."""
        subtask = self._subtask(group, stored)
        if subtask % self._workers != self._worker:  # moved since the supervisor looked
            return group
        # What floors to a subtask begins at the ceiling of its share.
        return min(-(-(subtask + 1) * self._max_parallelism // stored.parallelism), self._max_parallelism)

    def _next_group(self, group: int, end: int) -> int:
        """The next key group in which there may be something: a table may have many that are empty."""
        start, stop = _groups(group + 1, end)
        found = next(self._entries(start, stop), None) if group + 1 < end else None
        return end if found is None else layout.split_state_prefix(found[0][: layout.STATE_PREFIX_BYTES])[0]

    def _behind(self, position: Position, stored: Stored, uid: str) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The keys of a state in the position's key group that come behind it, each with its row."""
        if stored.name < position.state:
            return
        prefix = layout.state_prefix(position.group, stored.operator, stored.number)
        stop = layout.after_prefix(prefix) or b""
        start = self._start(prefix, stop, position) if stored.name == position.state else prefix
        while (first := next(self._entries(start, stop), None)) is not None:
            place = first[0]
            if stored.kind == MAP:
                place = layout.entry_prefix(place) or place
            value = self._value(place, stored, ROW_LIMIT)
            key = place[len(prefix) :]
            if value is not None:
                yield key, self._row(uid, stored, position.group, key, value, ROW_LIMIT)
            start = layout.after_prefix(place) or stop

    def _start(self, prefix: bytes, stop: bytes, position: Position) -> bytes:
        """Where to go on. If a long key is gone, at the first that begins like it: none is left out."""
        head = prefix + position.key
        behind = layout.after_prefix(head) or stop
        if not position.digest:
            return behind if position.key else prefix
        for number, (at, _) in enumerate(self._entries(head, behind)):
            if number == ALIKE:  # to begin with them again would go on for ever
                raise UsageError(
                    f"more than {ALIKE} long keys begin as that of the cursor: they cannot be paged"
                )
            place = layout.entry_prefix(at) or at
            if digest_of(place[len(prefix) :]) == position.digest:
                return layout.after_prefix(place) or stop
        return head


def _groups(first: int, end: int) -> tuple[bytes, bytes]:
    """What all states in these key groups lie between."""
    stop = layout.state_prefix(end, 0, 0) if end < 1 << 16 else layout.after_prefix(layout.STATE)
    return layout.state_prefix(first, 0, 0), stop or b""

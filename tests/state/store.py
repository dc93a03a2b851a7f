"""The least that uses a log and a table in the right order; state machines and power cuts run it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from mini_flink.state.base import CommitLog, Table

Changes = Mapping[str, int | None]
State = dict[str, int]


class Store:
    """A map of strings to numbers. A commit that returned is acknowledged."""

    def __init__(self, log: CommitLog, table: Table) -> None:
        self.log = log
        self.table = table
        self.layer: dict[str, int | None] = {}
        self.frozen: dict[str, int | None] = {}
        self._recover()

    def _recover(self) -> None:
        tail = list(self.log.recover(self.table.commit_number))
        for _, payload in tail:
            self.layer.update(json.loads(payload))
        self.secure(tail)

    def secure(self, tail: list[tuple[int, bytes]]) -> None:
        self.table.sync()
        self.log.rewrite(tail)

    def commit(self, changes: Changes) -> int:
        number = self.log.next_number
        self.log.append(number, json.dumps(changes).encode())
        self.log.sync()
        self.layer.update(changes)
        return number

    def flush(self) -> None:
        self.freeze()()
        self.flushed()

    def freeze(self) -> Callable[[], None]:
        """Sets the layer aside, with one that found no space; what is returned writes it, in any thread."""
        number = self.frozen_upto = self.log.next_number - 1
        self.frozen, self.layer = self.frozen | self.layer, {}
        items = [(key.encode(), _encoded(value)) for key, value in self.frozen.items()]
        return lambda: self.table.write(items, number)

    def flushed(self) -> None:
        self.table.renew()
        self.frozen = {}
        self.log.recycle(self.frozen_upto)
        self.log.prepare()

    def state(self) -> State:
        stored = {key.decode(): int(value) for key, value in self.table.scan(b"")}
        return folded([self.frozen, self.layer], stored)

    def close(self) -> None:
        self.log.close()
        self.table.close()


def _encoded(value: int | None) -> bytes | None:
    return None if value is None else b"%d" % value


def folded(history: Iterable[Changes], start: State | None = None) -> State:
    """The state after all ``history``."""
    state: dict[str, int | None] = dict(start or {})
    for changes in history:
        state.update(changes)
    return {key: value for key, value in state.items() if value is not None}

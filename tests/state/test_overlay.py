"""The overlay over a table against a plain dict, through failures, batches, flushes and crashes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mini_flink.state import layout
from mini_flink.state.memory import MemoryDisk, MemoryTable
from mini_flink.state.overlay import Overlay

KEYS = st.sampled_from([layout.state_prefix(0, 1, 0) + b"\xa1" + name for name in (b"a", b"b", b"c")])
MAPS = st.sampled_from([layout.state_prefix(0, 1, 1) + b"\xa1" + name for name in (b"a", b"b")])
ENTRIES = st.sampled_from([b"\x01", b"\x02", b"\x03"])
VALUES = st.binary(max_size=4)


class OverlayMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk = MemoryDisk()
        self.table = MemoryTable(self.disk)
        self.overlay = Overlay(self.table)
        self.log: list[dict[bytes, bytes | None]] = []
        self.flushed = 0
        self.model: dict[bytes, bytes] = {}
        self.at_mark: dict[bytes, bytes] = {}
        self.committed: dict[bytes, bytes] = {}
        self.flushing: dict[bytes, bytes | None] | None = None
        self.flush_upto = 0

    @rule(key=KEYS, value=VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        self.overlay.put(key, value)
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        self.overlay.delete(key)
        self.model.pop(key, None)

    @rule(prefix=MAPS, entry=ENTRIES, value=VALUES)
    def put_entry(self, prefix: bytes, entry: bytes, value: bytes) -> None:
        self.overlay.put_entry(prefix, prefix + entry, value)
        self.model[prefix + entry] = value

    @rule(prefix=MAPS, entry=ENTRIES)
    def delete_entry(self, prefix: bytes, entry: bytes) -> None:
        self.overlay.delete_entry(prefix, prefix + entry)
        self.model.pop(prefix + entry, None)

    @rule()
    def record_succeeds(self) -> None:
        self.overlay.mark()
        self.at_mark = dict(self.model)

    @rule()
    def record_fails(self) -> None:
        self.overlay.undo()
        self.model = dict(self.at_mark)

    @rule()
    def commit(self) -> None:
        self.record_succeeds()
        self.log.append(self.overlay.take_batch())
        self.committed = dict(self.model)

    @rule()
    def begin_flush(self) -> None:
        if self.flushing is None:
            self.flushing = dict(self.overlay.freeze())
            self.flush_upto = len(self.log)

    @rule()
    def end_flush(self) -> None:
        if self.flushing is not None:
            self.table.write(self.flushing.items(), self.flush_upto)
            self.table.renew()
            self.overlay.drop_frozen()
            self.flushing = None

    @rule()
    def crash(self) -> None:
        self.disk.crash()
        self.table = MemoryTable(self.disk)
        self.overlay = Overlay(self.table)
        for changes in self.log[self.table.commit_number :]:
            self.overlay.apply(changes)
        self.overlay.rebuild_members(layout.entry_prefix)
        self.flushing = None
        self.model = dict(self.committed)
        self.at_mark = dict(self.committed)

    @rule(prefix=MAPS)
    def scan(self, prefix: bytes) -> None:
        expected = sorted((key, value) for key, value in self.model.items() if key.startswith(prefix))
        assert self.overlay.scan(prefix) == expected

    @invariant()
    def equals_the_model(self) -> None:
        for name in (b"a", b"b", b"c"):
            key = layout.state_prefix(0, 1, 0) + b"\xa1" + name
            assert self.overlay.get(key) == self.model.get(key)


TestOverlay = OverlayMachine.TestCase
TestOverlay.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)

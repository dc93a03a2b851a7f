"""Random histories of commits, flushes, faults, deaths and power cuts against a plain model."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mini_flink.errors import StorageError, StorageFullError
from mini_flink.state.memory import Fault, Operation, ProcessKilled
from tests.state.devices import FileDevices, MemoryDevices
from tests.state.store import Changes, Store, folded

KEYS = ["a", "b", "c" * 600, "d"]
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.none() | st.integers(0, 99), min_size=1)
OPERATIONS: list[Operation] = ["append", "sync", "rewrite", "prepare", "write", "table_sync"]
FAULTS: list[Fault] = ["error", "kill", "full"]


class StoreMachine(RuleBasedStateMachine):
    """``history`` is what was tried, by number; ``acknowledged`` is how many of it were promised."""

    devices: FileDevices | MemoryDevices

    def begin(self, devices: FileDevices | MemoryDevices) -> None:
        self.devices = devices
        self.history: list[Changes] = []
        self.acknowledged = 0
        self.restart()

    def restart(self) -> None:
        """A new process: what it finds is all that was promised and nothing that was not tried."""
        self.devices.kill()
        self.store = Store(self.devices.log(), self.devices.table())
        found = self.store.log.next_number - 1
        assert self.acknowledged <= found <= len(self.history)
        del self.history[found:]
        self.acknowledged = found

    def guarded(self, action: Callable[[], None]) -> None:
        """Does it; after anything but a full disk the process is gone and the next one recovers."""
        while True:
            try:
                return action()
            except StorageFullError:
                if action != self.restart:
                    return None
            except (StorageError, ProcessKilled):
                action = self.restart

    @rule(changes=CHANGES)
    def commit(self, changes: Changes) -> None:
        def promised() -> None:
            self.acknowledged = self.store.commit(changes)

        self.history.append(changes)
        self.guarded(promised)
        del self.history[self.acknowledged :]

    @rule(changes=CHANGES)
    def die_between_write_and_sync(self, changes: Changes) -> None:
        def write_only() -> None:
            self.store.log.append(self.store.log.next_number, json.dumps(changes).encode())

        self.history.append(changes)
        self.guarded(write_only)
        self.guarded(self.restart)

    @rule()
    def flush(self) -> None:
        self.guarded(self.store.flush)

    @rule()
    def kill(self) -> None:
        self.guarded(self.restart)

    @invariant()
    def state_is_that_of_the_history(self) -> None:
        assert self.store.state() == folded(self.history)


class MemoryMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.begin(MemoryDevices())

    @rule(seed=st.integers(0, 1000))
    def power_cut(self, seed: int) -> None:
        assert isinstance(self.devices, MemoryDevices)
        self.devices.power_cut(Random(seed))
        self.guarded(self.restart)

    @rule(operation=st.sampled_from(OPERATIONS), fault=st.sampled_from(FAULTS))
    def fault(self, operation: Operation, fault: Fault) -> None:
        assert isinstance(self.devices, MemoryDevices)
        if (operation, fault) not in [("sync", "full"), ("table_sync", "full")]:
            self.devices.disk.fail_next(operation, fault)


class FilesMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.begin(FileDevices(self.folder))

    def teardown(self) -> None:
        self.devices.kill()
        shutil.rmtree(self.folder)


def test_random_histories_in_memory() -> None:
    run_state_machine_as_test(
        MemoryMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


def test_random_histories_in_files() -> None:
    run_state_machine_as_test(
        FilesMachine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
    )

"""Locks on real processes: refused to a second holder, taken from a leftover one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mini_flink import locks, procfs
from mini_flink.errors import BusyError
from mini_flink.locks import FolderLock

HOLDER = """
import sys, time
from mini_flink.locks import FolderLock
lock = FolderLock.acquire(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


@contextmanager
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_held_lock_is_refused_with_its_holder(path: str) -> None:
    with holder(path) as process, pytest.raises(BusyError, match=rf"\(pid {process.pid}\)"):
        FolderLock.acquire(path)


def test_a_lock_is_free_when_its_holder_has_died(path: str) -> None:
    with holder(path) as process:
        process.kill()
        process.wait()
        FolderLock.acquire(path).release()


def test_the_lock_says_who_holds_it(path: str) -> None:
    lock = FolderLock.acquire(path)
    content = json.loads(Path(path).read_text())
    assert content == {"format": 1, "pid": os.getpid(), "start_time": procfs.start_time(os.getpid())}
    lock.release()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_leftover_process_is_killed_and_its_end_awaited(path: str, stopped: bool) -> None:
    with holder(path) as process:
        if stopped:
            process.send_signal(signal.SIGSTOP)
        lock = FolderLock.evict(path)
        assert process.wait(1) == -signal.SIGKILL
        lock.release()


def test_another_process_with_the_id_of_the_holder_is_left_alone(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "EVICTION_S", 0.2)
    with holder(path) as process:
        content = json.loads(Path(path).read_text())
        Path(path).write_text(json.dumps({**content, "start_time": content["start_time"] + 1}))
        with pytest.raises(BusyError, match="in use by another process"):
            FolderLock.evict(path)
        assert process.poll() is None


def test_a_holder_that_leaves_by_itself_is_waited_for(path: str) -> None:
    with holder(path) as process:
        Path(path).write_text("")
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.2; kill {process.pid}"])
        started = time.monotonic()
        FolderLock.evict(path).release()
        assert time.monotonic() - started > 0.1
        assert killer.wait() == 0


def test_children_do_not_inherit_the_lock(path: str) -> None:
    lock = FolderLock.acquire(path)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        lock.release()
        FolderLock.acquire(path).release()
        child.kill()

"""What the recorder sees, call by call, and what the images make of it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.powercut import images, recorder
from tests.powercut.images import Kind

pytestmark = pytest.mark.skipif(not recorder.available(), reason="needs Linux and a C compiler")


def trace_of(script: str, folder: Path, *, sends: bool = False) -> list[images.Event]:
    """The events of a Python script that runs in ``folder``."""
    folder.mkdir(exist_ok=True)
    trace = folder.with_suffix(".trace")
    environment = os.environ | recorder.environment(folder, trace, sends=sends)
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, env=environment, cwd=folder, check=True)
    return images.load(trace)


def possible(events: list[images.Event], out: Path, name: str = "file") -> set[bytes | None]:
    """All contents of a file (None: not there) that many power cuts after the last event leave."""
    contents: set[bytes | None] = set()
    for seed in range(60):
        images.random_image([images.Run(events)], None, seed, out, upto=len(events))
        contents.add((out / name).read_bytes() if (out / name).exists() else None)
    return contents


OPEN = "import os; d = os.open('.', os.O_RDONLY); f = os.open('file', os.O_RDWR | os.O_CREAT)\n"


def test_what_is_synced_is_there(tmp_path: Path) -> None:
    events = trace_of(OPEN + "os.write(f, b'abc'); os.fsync(f); os.fsync(d)", tmp_path / "f")
    assert possible(events, tmp_path / "out") == {b"abc"}


def test_what_is_not_synced_is_there_or_not(tmp_path: Path) -> None:
    events = trace_of(OPEN + "os.fsync(d); os.write(f, b'abc')", tmp_path / "f")
    assert possible(events, tmp_path / "out") == {b"", b"abc"}


def test_a_name_that_is_not_synced_is_there_or_not(tmp_path: Path) -> None:
    events = trace_of(OPEN + "os.write(f, b'abc'); os.fsync(f)", tmp_path / "f")
    assert possible(events, tmp_path / "out") == {None, b"abc"}


def test_sectors_are_lost_one_by_one(tmp_path: Path) -> None:
    events = trace_of(OPEN + "os.fsync(d); os.pwritev(f, [b'a' * 512, b'b' * 512], 0)", tmp_path / "f")
    zeros = bytes(512)
    expected = {b"", b"a" * 512, b"a" * 512 + b"b" * 512, zeros + b"b" * 512}
    assert possible(events, tmp_path / "out") == expected


def test_a_sector_may_hold_any_version_since_the_sync(tmp_path: Path) -> None:
    script = (
        OPEN + "os.pwrite(f, b'1', 0); os.fsync(f); os.fsync(d); os.pwrite(f, b'2', 0); os.pwrite(f, b'3', 0)"
    )
    assert possible(trace_of(script, tmp_path / "f"), tmp_path / "out") == {b"1", b"2", b"3"}


def test_synchronous_writes_sync_their_own_sectors_only(tmp_path: Path) -> None:
    script = """
        import os
        d = os.open('.', os.O_RDONLY); f = os.open('file', os.O_RDWR | os.O_CREAT)
        os.pwrite(f, bytes(1024), 0); os.fsync(f); os.fsync(d)
        s = os.open('file', os.O_RDWR | os.O_DSYNC)
        os.pwrite(f, b'x', 0); os.pwrite(s, b'y', 512)
    """
    events = trace_of(script, tmp_path / "f")
    found = possible(events, tmp_path / "out")
    assert found == {first + bytes(511) + b"y" + bytes(511) for first in (b"x", b"\0")}


def test_a_rename_that_is_not_synced_leaves_the_old_name_or_the_new(tmp_path: Path) -> None:
    script = (
        OPEN + "os.write(f, b'abc'); os.fsync(f); os.fsync(d); os.rename('file', 'other'); os.mkdir('sub')"
    )
    events = trace_of(script, tmp_path / "f")
    assert possible(events, tmp_path / "out") == {None, b"abc"}
    assert possible(events, tmp_path / "out", "other") == {None, b"abc"}


def test_a_cut_within_a_sync_is_a_cut_before_it(tmp_path: Path) -> None:
    events = trace_of(OPEN + "os.fsync(d); os.write(f, b'abc'); os.fdatasync(f)", tmp_path / "f")
    assert events[-1].kind is Kind.SYNC_END
    assert possible(events[:-1], tmp_path / "out") == {b"", b"abc"}
    assert possible(events, tmp_path / "out") == {b"abc"}


def test_marks_stand_between_the_writes(tmp_path: Path) -> None:
    script = OPEN + "m = os.open('.mark', os.O_WRONLY | os.O_CREAT)\n"
    script += "os.write(m, b'1'); os.write(f, b'x'); os.write(m, b'2')"
    events = trace_of(script, tmp_path / "f")
    kinds = [event.kind for event in events if event.kind in (Kind.MARK, Kind.WRITE)]
    assert (kinds, images.marks(events)) == ([Kind.MARK, Kind.WRITE, Kind.MARK], [b"1", b"2"])


def test_messages_that_zeromq_sends_stand_between_the_writes(tmp_path: Path) -> None:
    script = """
        import os, zmq
        context = zmq.Context()
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind('ipc://socket'); push.connect('ipc://socket')
        f = os.open('file', os.O_RDWR | os.O_CREAT)
        for index in range(3):
            os.pwrite(f, b'record %d' % index, 0)
            push.send(b'output %d ' % index + bytes(20000))
            pull.recv()
        context.destroy(0)
    """
    events = trace_of(script, tmp_path / "f", sends=True)
    writes = [at for at, event in enumerate(events) if event.kind is Kind.WRITE]
    for index, at in enumerate(writes):
        assert b"output %d" % index not in images.sent(events[: at + 1])
        assert b"output %d" % index in images.sent(events)
        assert index == 0 or b"output %d" % (index - 1) in images.sent(events[:at])


def test_a_write_that_failed_makes_the_trace_unusable(tmp_path: Path) -> None:
    script = """
        import contextlib, os
        f = os.open('file', os.O_RDONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            os.write(f, b'abc')
    """
    with pytest.raises(ValueError, match="failed or short write"):
        possible(trace_of(script, tmp_path / "f"), tmp_path / "out")

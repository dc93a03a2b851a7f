"""How far a long command is: redrawn on a terminal, a line every 5 s elsewhere, never on stdout."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mini_flink.bar import BYTES, Bar
from tests.cli.terminal import CODES, Terminal
from tests.e2e import commands
from tests.e2e.server import JOBS, Server


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_elsewhere_than_on_a_terminal_it_is_a_line_every_five_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Bar("copy", stream=stream, clock=clock)
    for second in range(13):
        clock.now_s = 100.0 + second
        bar.show(10 * second, 120, "items")
    bar.close()
    assert stream.getvalue().splitlines() == [
        "copy: 50 of 120 items, 5 s, about 7 s left",
        "copy: 100 of 120 items, 10 s, about 2 s left",
    ]


def test_on_a_terminal_it_is_redrawn_after_a_second_and_taken_away() -> None:
    ours, theirs = pty.openpty()
    clock = Clock()
    with os.fdopen(theirs, "w") as stream:
        bar = Bar("copy", stream=stream, clock=clock)
        bar.show(1 << 20, 4 << 20, BYTES)
        clock.now_s += 2.0
        bar.show(1 << 20, 4 << 20, BYTES)
        bar.say("a line between")
        bar.turn()
        bar.close()
        written = ""
        while "between" not in written or not written.endswith("\n"):  # a terminal hands it on piece by piece
            written += os.read(ours, 4096).decode()
    os.close(ours)
    assert written.split("\r\x1b[K") == [
        "",
        "copy  [#####···············]  1 MB of 4 MB, 2 s, about 6 s left",
        "a line between\r\n",
    ]


def test_what_is_not_counted_shows_that_it_goes_on() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Bar("copy", stream=stream, clock=clock)
    clock.now_s += 6.0
    bar.turn()
    bar.begin("build")
    clock.now_s += 6.0
    bar.show(7, None, "items")
    assert stream.getvalue().splitlines() == ["copy: 6 s", "build: 7 items, 6 s"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, JOBS / "failing.py", "--workers", "2", "--gateways", "1")
    yield server.start()
    server.clean_up()


def test_a_savepoint_that_takes_long_says_whose_part_is_stored(server: Server) -> None:
    server.send(signal.SIGSTOP, "worker", 1)
    terminal = Terminal("savepoint", "--data-dir", str(server.data_dir))
    try:
        terminal.until(lambda: "[##########··········]  1 of 2 workers, " in terminal.text, "a bar")
        server.send(signal.SIGCONT, "worker", 1)
        assert terminal.wait() == 0
        *_, end = terminal.text.split("\r\x1b[K")
        assert "restore it: python -m mini_flink serve" in end
        assert "workers" not in CODES.sub("", end)
    finally:
        terminal.close()


def test_in_a_pipe_stdout_holds_the_result_alone(server: Server) -> None:
    server.send(signal.SIGSTOP, "worker", 1)
    running = commands.Running(server, "savepoint", "--json")
    running.until_said("savepoint: 1 of 2 workers, ")
    server.send(signal.SIGCONT, "worker", 1)
    ended = running.wait()
    assert ended.code == 0
    assert json.loads(ended.out)["kind"] == "savepoint"
    assert "\x1b" not in ended.err


def test_a_rescale_says_how_many_are_waited_for(server: Server) -> None:
    server.send(signal.SIGSTOP, "worker", 1)
    terminal = Terminal("rescale", "--workers", "3", "--data-dir", str(server.data_dir))
    try:
        terminal.until(lambda: "1 of 2 processes, " in terminal.text, "who is waited for")
        server.send(signal.SIGCONT, "worker", 1)
        assert terminal.wait() == 0
        assert "3 workers; clients waited " in terminal.text
    finally:
        terminal.close()

"""``top`` in a real terminal on a real server: the verdict, keys, sizes, and a server that goes away."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mini_flink.folder import read_run
from tests.cli.terminal import CODES, Terminal
from tests.cli.test_commands import environment
from tests.e2e.server import JOBS, ROOT, Server

WITH_PAGE = {"MINI_FLINK_ADMIN": "true"}
SIZES = ("--workers", "2", "--gateways", "1", "--admin-port", "0")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[1-7]")

Open = Callable[..., Terminal]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("top"), JOBS / "failing.py", *SIZES, environment=WITH_PAGE)
    yield server.start()
    server.clean_up()


@pytest.fixture
def open_top() -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_top(server: Server, *words: str, **options: Any) -> Terminal:
        opened.append(Terminal("top", "--data-dir", str(server.data_dir), *words, **options))
        return opened[-1]

    yield open_top
    for terminal in opened:
        terminal.close()


def top(server: Server, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mini_flink", "top", "--data-dir", str(server.data_dir), *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=60
    )


def fail_a_record(server: Server) -> None:
    answer = httpx.post(f"{server.url}/total", json={"key": "a"})
    assert answer.status_code == 500


def test_in_a_pipe_it_is_one_plain_picture(server: Server) -> None:
    done = top(server)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("failing   serving   up ")
    assert lines[1] == "○ IDLE  ready; no requests at present"
    assert "errors 0/s   refused 0/s   p50 –" in done.stdout
    assert re.search(r"^POST /total +○ IDLE +1 +0 +0 +– +– +– +0 +– +–$", done.stdout, re.MULTILINE)
    assert re.search(r"^w1 +\d+ +● OK +\d+ % +[\d.]+ MB +0 +\d+ \w+ +–$", done.stdout, re.MULTILINE)
    assert "\nsnapshots   none yet by this run" in done.stdout
    assert lines == [line.rstrip() for line in lines]


def test_for_programs_it_is_the_tick_of_the_admin_process(server: Server) -> None:
    run = read_run(str(server.data_dir))
    assert run is not None
    shown, told = (
        json.loads(top(server, "--json").stdout),
        httpx.get(f"{run['admin_url']}/api/v1/tick").json(),
    )
    assert shown.keys() == told.keys()
    assert shown["verdict"] == told["verdict"]


def test_live_it_follows_the_server_and_hears_keys(server: Server, open_top: Open) -> None:
    terminal = open_top(server)
    terminal.until_shown("q quit   s sort")
    assert "\x1b[?1049h" in terminal.text, "the screen that was there before is kept aside"
    fail_a_record(server)
    terminal.until_shown("■ BAD FAILING  ")
    terminal.until_line(r"^◆ \w+ +■ FAILING ")
    terminal.press("s")
    terminal.until_shown("busy ▼")
    terminal.press("?")
    terminal.until_shown("◆ is the bottleneck")
    terminal.press("p")
    terminal.until_shown("PAUSED")
    terminal.press("\x1b[Ap")  # an arrow, which is no key, and then p again
    terminal.until_shown("updated ")
    terminal.press("q")
    assert terminal.wait() == 0
    assert terminal.text.rstrip().endswith("\x1b[?1049l")
    assert terminal.modes == terminal.modes_before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_terminal_as_it_was(server: Server, open_top: Open, number: signal.Signals) -> None:
    terminal = open_top(server)
    terminal.until_shown("q quit")
    terminal.press("\x03") if number == signal.SIGINT else terminal.signal(number)
    assert terminal.wait() == 0
    assert "\x1b[?1049l" in terminal.text
    assert terminal.modes == terminal.modes_before
    assert "Traceback" not in terminal.text


def test_it_fits_a_small_terminal_and_grows_with_it(server: Server, open_top: Open) -> None:
    terminal = open_top(server, columns=48, rows=16)
    terminal.until_shown("q quit")
    assert max(map(len, terminal.screen)) <= 48
    assert len(terminal.screen) <= 16
    assert any(re.search(r"^operator +state .*in/s", line) for line in terminal.screen)
    assert not any(re.search(r"^operator .*p99$", line) for line in terminal.screen)
    terminal.resize(120, 40)
    terminal.until_line(r"^operator .*p99$")
    terminal.until_line(r"^admin ")


def test_colour_only_for_who_wants_it(server: Server, open_top: Open) -> None:
    coloured = open_top(server)
    coloured.until(lambda: COLOUR.search(coloured.text), "a colour")
    plain = open_top(server, NO_COLOR="1")
    plain.until_shown("q quit")
    assert not COLOUR.search(plain.text)
    dumb = open_top(server, TERM="dumb")
    assert dumb.wait() == 0
    assert "\x1b" not in dumb.text
    assert "disk   " in dumb.text
    assert COLOUR.search(top(server, FORCE_COLOR="1").stdout)


def test_a_server_that_goes_away_is_said_to_be_stale_and_then_left(tmp_path: Path, open_top: Open) -> None:
    server = Server(tmp_path, JOBS / "failing.py", *SIZES, environment=WITH_PAGE)
    try:
        server.start()
        terminal = open_top(server)
        terminal.until_shown("updated ")
        server.kill_all()
        terminal.until_shown("? STALE  no news from the server")
        assert terminal.wait() == 69
        said = CODES.sub("", terminal.text)
        assert "error: no news from the server for 1" in said
        assert said.rstrip().endswith("python -m mini_flink status says whether it runs")
    finally:
        server.clean_up()


def test_without_an_admin_process_it_says_what_to_do(tmp_path: Path) -> None:
    server = Server(tmp_path, JOBS / "failing.py", *SIZES)
    try:
        server.start()
        done = top(server)
        assert (done.returncode, done.stdout) == (69, "")
        assert "has no admin process to ask: the setting admin is off" in done.stderr
        assert "--no-admin" in done.stderr.splitlines()[-1]
    finally:
        server.clean_up()


def test_a_token_is_shown_to_who_wants_one(tmp_path: Path) -> None:
    token, other = tmp_path / "token", tmp_path / "other"
    token.write_text("a-secret-of-this-test\n")
    other.write_text("another-secret-of-it\n")
    server = Server(
        tmp_path, JOBS / "failing.py", *SIZES, "--admin-token-file", str(token), environment=WITH_PAGE
    )
    try:
        server.start()
        assert top(server, "--admin-token-file", str(token)).returncode == 0
        without, wrong = top(server), top(server, "--admin-token-file", str(other))
        assert (without.returncode, wrong.returncode) == (78, 78)
        assert "--admin-token-file FILE" in without.stderr
        assert "wants another token" in wrong.stderr
    finally:
        server.clean_up()


def test_where_no_server_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mini_flink", "top", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 69
    assert f"no server runs on {tmp_path}" in done.stderr


@pytest.mark.parametrize("interval", ["0", "0.5", "x", "nan", "9999"])
def test_an_interval_that_makes_no_sense(interval: str) -> None:
    command = [sys.executable, "-m", "mini_flink", "top", "--interval", interval]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"--interval {interval} is no number of seconds" in done.stderr

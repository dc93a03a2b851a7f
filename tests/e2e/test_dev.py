"""serve --dev: what is saved serves, what is wrong says so, and nobody else hears of it."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mini_flink.errors import EXIT_CONFIG
from tests.e2e import checks
from tests.e2e.client import Load, post
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import NO_PAGE, ROOT, Server

JOB = """\
from mini_flink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor
from words import VERSION


class Total(KeyedProcessFunction):
    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(self, value, ctx):
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        yield {"key": value["key"], "total": total, "version": VERSION}


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()
env.execute("edited")
"""
CONNECTIONS = 4
HOSTILE = "</pre><script>alert(1)</script>\x1b[31m\"'&"


class Desk:
    """The job's folder, as it is edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = folder / "job.py"
        self.job.write_text(JOB)
        self.write_version(1)

    def write_version(self, version: int, file: str = "words.py") -> None:
        (self.folder / file).write_text(f"VERSION = {version}\n")

    def write_by_rename(self, text: str) -> None:
        """As editors do that keep a copy: the old file goes, another one comes."""
        os.rename(self.job, self.folder / "job.py~")
        new = self.folder / ".job.py.new"
        new.write_text(text)
        os.rename(new, self.job)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder)


def reloaded(server: Server, since: int) -> None:
    server.until(r"  ok     reloaded in [\d.]+ s, state kept\n", since)


def version(server: Server) -> int:
    answer = post(server.url, "/total", {"key": "own", "amount": 0})
    assert answer.ok, answer
    found: int = answer.body["version"]
    return found


def test_what_is_saved_serves_and_no_request_fails(serve: Serve, desk: Desk) -> None:
    server = serve(desk.job, "--dev", "--request-timeout-ms", "60000").start()
    assert "  Reload  on save of job.py, words.py\n" in server.output
    roles = [process["role"] for process in server.status()["processes"]]
    assert sorted(roles) == ["gateway", "supervisor", "worker"]
    load = Load(lambda: server.url, "/total", checks.amounts(SEED, CONNECTIONS)).start()
    load.until_done(50)

    since = server.mark()
    desk.write_version(2)
    server.until(r"info   reloading: \S*words.py changed\n", since)
    reloaded(server, since)
    assert version(server) == 2
    load.until_done(50)

    since = server.mark()
    desk.write_version(3, "others.py")
    desk.write_by_rename(JOB.replace("from words", "from others"))
    reloaded(server, since)
    assert version(server) == 3

    since = server.mark()
    os.utime(desk.job)
    desk.write_version(9)  # the job does not read it any more
    desk.write_version(4, "others.py")
    reloaded(server, since)
    assert version(server) == 4
    assert re.findall("reloading: (.*) changed", server.output[since:]) == [str(desk.folder / "others.py")]

    load.until_done(50)
    exchanges = load.stop()
    assert checks.failed(exchanges) == []
    assert checks.total_problems(exchanges) == []
    assert load.refused == 0
    assert server.stop() == 0


def test_what_is_wrong_says_so_and_the_version_before_goes_on(serve: Serve, desk: Desk) -> None:
    server = serve(desk.job, "--dev").start()
    post(server.url, "/total", {"key": "own", "amount": 5})
    for text, said in (
        (JOB.replace("total = (", "total = = ("), r"does not parse: .*\n  --> .*job.py:11:\d+\n.*\n11 \| "),
        (JOB.replace("import VERSION", "import WORD"), r"cannot import name 'WORD'"),
        (
            JOB.replace('"total", int', '"total", str'),
            r"stored as value (.*\n)+.*migrate_from(.*\n)+.*--data-dir FOLDER",
        ),
        (JOB.replace("def open(self, runtime_context):", "def open(self):"), r"open\(\) of operator 'Total'"),
    ):
        since = server.mark()
        desk.job.write_text(text)
        server.until("warn   not reloaded, the version before goes on: .*" + said, since)
        assert version(server) == 1
    since = server.mark()
    desk.job.write_text(JOB.replace("from words", "from others"))
    server.until("No module named 'others'", since)
    desk.write_version(2, "others.py")
    reloaded(server, since)
    answer = post(server.url, "/total", {"key": "own", "amount": 0})
    assert answer.body == {"key": "own", "total": 5, "version": 2}

    since = server.mark()
    (desk.folder / "endless.py").write_text("while True: pass\n")
    desk.job.write_text(f"import endless\n{JOB}")
    server.until("reloading: ", since)
    server.until("warn   still loading .*job.py: does its top level return", since)
    assert version(server) == 2
    (desk.folder / "endless.py").write_text("")  # nobody has watched it before
    server.until(r"not reloaded, the version before goes on: \S*endless.py changed meanwhile", since)
    reloaded(server, since)
    assert version(server) == 1
    assert server.stop() == 0


def test_a_job_that_is_wrong_from_the_start_is_waited_for(serve: Serve, desk: Desk) -> None:
    server = serve(desk.job, "--dev")
    desk.write_version(1, "words.py")
    (desk.folder / "words.py").write_text("VERSION = (\n")
    since = server.launch()
    server.until(r"error: \S*words.py does not parse: (.*\n)+.*waiting for a change of ", since)
    since = server.mark()
    desk.write_version(7)
    desk.job.write_text(JOB.replace("(self, runtime_context)", "(self)"))
    server.until(r"error: open\(\) of operator 'Total' raised (.*\n)+.*waiting for a change of ", since)
    since = server.mark()
    desk.job.write_text(JOB)
    server.url = server.until(r"  Ready   (\S+)", since)[1]
    server.status()
    assert version(server) == 7
    assert server.stop() == 0


def ask(url: str, value: Any, **headers: str) -> tuple[int, str, str]:
    """Status, content type and text of an answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", "/total", json.dumps(value), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read().decode()
    finally:
        connection.close()


def test_a_failure_explains_itself_to_the_developer(serve: Serve, desk: Desk) -> None:
    server = serve(desk.job, "--dev", environment={"MINI_FLINK_ADMIN": "true"}).start("--admin-port", "0")
    page = server.until(r"  Page    (\S+)")[1]
    for value, function, source in (
        ({"key": HOSTILE}, "process_element", 'total = (self.total.value() or 0) + value["amount"]'),
        ({"kei": HOSTILE}, "<lambda>", 'env.from_requests("/total").key_by(lambda value: value["key"])'),
    ):
        status, kind, text = ask(server.url, value, Accept="*/*")
        assert (status, kind) == (500, "application/problem+json")
        told = json.loads(text)
        (frame,) = told["frames"]
        assert (frame["function"], frame["source"][: len(source)]) == (function, source)
        start, end = frame["caret"].index("^"), len(frame["caret"])
        assert frame["source"][start:end] in ('value["amount"]', 'value["key"]')
        assert told["error"].startswith("KeyError: ")
        assert told["location"] in frame["place"]
        assert told["record"] == repr(value)
        assert told["key"] == (repr(HOSTILE) if "key" in value else "")
        assert told["page"] == f"{page}/#deadletters?id={told['error_id']}"
        status, kind, text = ask(server.url, value, Accept="text/html,*/*;q=0.8")
        assert (status, kind) == (500, "text/html; charset=utf-8")
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert f'href="{page}/#deadletters?id=' in text
        told = json.loads(ask(server.url, value, Host="elsewhere.example")[2])
        assert not {"error", "frames", "record", "key", "page"} & told.keys()
    assert server.stop() == 0


def test_without_dev_a_client_hears_nothing_of_the_job(serve: Serve, desk: Desk) -> None:
    server = serve(desk.job).start("--workers", "1", "--gateways", "1")
    for value in ({"key": "k"}, {"kei": "k"}):
        status, kind, text = ask(server.url, value, Accept="text/html")
        assert (status, kind) == (500, "application/problem+json")
        assert {"type", "title", "status", "detail", "code", "error_id", "operator"} == json.loads(
            text
        ).keys()
    assert server.stop() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_no_address_that_others_reach(serve: Serve, desk: Desk, host: str) -> None:
    server = serve(desk.job, "--dev")
    since = server.launch("--host", host)
    assert server.refuses(since)
    assert server.wait() == EXIT_CONFIG
    assert "--dev shows source code and records to whoever asks" in server.output
    assert "leave --dev out, or listen where only this host can ask: --host 127.0.0.1" in server.output


def seen_on_terminal(desk: Desk, *options: str) -> str:
    """What a server prints on a terminal, with one request and one wrong path."""
    master, slave = pty.openpty()
    seen, ready = bytearray(), threading.Event()

    def read() -> None:
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # the last process has closed the terminal
                return
            seen.extend(data)
            if b"Ctrl-C" in seen:
                ready.set()

    words = [
        "serve",
        str(desk.job),
        "--port",
        "0",
        "--data-dir",
        str(desk.folder / "data"),
        "--dev",
        *options,
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "mini_flink", *words],
        cwd=ROOT,
        env={**os.environ, **NO_PAGE, "MINI_FLINK_LOG": "text"},
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert ready.wait(60), bytes(seen)
        found = re.search(r"Ready   (\S+)", seen.decode())
        assert found is not None
        assert post(found[1], "/total", {"key": "ann", "amount": 1}).status == 200
        assert post(found[1], "/nowhere", {}).status == 404
    finally:
        server.terminate()
        server.wait(60)
    reader.join(60)
    os.close(master)
    return seen.decode()


def test_a_terminal_shows_a_line_a_request(desk: Desk) -> None:
    seen = seen_on_terminal(desk)
    assert re.search(r"POST /total   200   [\d.]+ ms   key 'ann'", seen)
    assert re.search(r"POST /nowhere   404   ", seen)
    assert "/nowhere" not in seen_on_terminal(desk, "--no-access-log")

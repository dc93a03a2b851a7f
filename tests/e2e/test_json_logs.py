"""What a program reads: every line is one JSON object, from the first to the last, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mini_flink.events import EVENTS
from tests.e2e.client import post
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS, ROOT, Server

FEW = ("--workers", "2", "--gateways", "1")


def start(server: Server) -> Server:
    """As ``Server.start``, whose words are others."""
    server.launch()
    server.url = server.until(r'"event": "server.ready".*"url": "([^"]+)"')[1]
    server.status()
    return server


def entries(server: Server) -> list[dict[str, Any]]:
    """Everything that was said."""
    return [json.loads(line) for line in server.output.splitlines()]


def one(said: list[dict[str, Any]], event: str, **fields: Any) -> dict[str, Any]:
    (found,) = [entry for entry in said if entry["event"] == event and fields.items() <= entry.items()]
    return found


def test_a_life_in_json(serve: Serve) -> None:
    server = start(serve(JOBS / "failing.py", *FEW, "--log", "json"))
    failed = post(server.url, "/total", {"key": "a secret", "amount": 1, "do": "raise"})
    assert failed.status == 500
    since = server.kill("worker", 1)
    server.until(r'"event": "worker.back"', since)
    for words in (["savepoint"], ["rescale", "--workers", "1"]):
        command = [sys.executable, "-m", "mini_flink", *words, "--data-dir", str(server.data_dir)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert server.stop() == 0

    said = entries(server)
    assert {entry["event"] for entry in said} <= EVENTS.keys()
    assert {entry["job"] for entry in said} == {"failing"}
    assert all(entry["ts"].endswith("Z") and "message" in entry for entry in said)
    ready = one(said, "server.ready", process="supervisor")
    assert (ready["workers"], ready["gateways"], ready["durability"]) == (2, 1, "disk")
    record = one(said, "record.failed", level="error")
    assert record["process"].startswith("worker ")
    assert (record["operator"], record["error"]) == ("total", "ValueError")
    assert record["error_id"] == failed.body["error_id"]
    assert record["location"].endswith("failing.py:32")
    assert record["message"] == "ValueError in operator total"
    assert 'raise ValueError("on purpose")' in record["detail"]
    assert "a secret" not in server.output
    died = one(said, "worker.died", which="worker 1")
    assert died["cause"] == "SIGKILL"
    assert one(said, "worker.back", which="worker 1")["pid"] != died["pid"]
    assert one(said, "snapshot.completed", kind="savepoint")["total_bytes"] > 0
    one(said, "changeover.begun", kind="rescale")
    assert one(said, "changeover.ended", kind="rescale")["workers"] == 1
    one(said, "server.stopping", pending=0)
    assert said[-1]["event"] == "server.stopped"


def test_what_a_job_prints_and_logs(serve: Serve) -> None:
    server = start(serve(JOBS / "speaking.py", *FEW, "--log", "json"))
    assert post(server.url, "/say", {"words": "two\nlines"}).status == 200
    assert server.stop() == 0
    spoken = [entry for entry in entries(server) if entry["event"] == "user.output"]
    assert spoken[0]["message"] == "the top level prints"
    printed = [entry for entry in spoken if entry.get("operator") == "Sayer"]
    assert {entry["request"] for entry in printed} == {printed[0]["request"]}
    assert [entry["message"] for entry in printed] == [
        "printed two",
        "lines",
        "INFO shop: logged two",
        "lines",
    ]
    assert printed[0]["process"].startswith("worker ")


def refusal(directory: Path, *, is_journal: bool) -> str:
    """What a server without a job says on stderr, where that is what systemd names, or another stream."""
    read, write = os.pipe()
    about = os.fstat(write if is_journal else read)
    stream = f"{about.st_dev}:{about.st_ino + (not is_journal)}"
    environment = {**os.environ, "JOURNAL_STREAM": stream, "MINI_FLINK_LOG": "auto"}
    with os.fdopen(write) as theirs:
        words = [sys.executable, "-m", "mini_flink", "serve", str(directory / "no.py")]
        subprocess.run(words, cwd=ROOT, env=environment, stderr=theirs, stdout=theirs, timeout=60)
    with os.fdopen(read) as ours:
        return ours.read()


def test_in_the_journal_a_start_that_is_refused_is_one_object_with_a_priority(tmp_path: Path) -> None:
    priority, _, entry = refusal(tmp_path, is_journal=True).partition(">")
    assert priority == "<3"
    refused = json.loads(entry)
    assert (refused["event"], refused["level"]) == ("start.refused", "error")
    assert refused["exit_code"] == 78
    assert "no.py" in refused["message"]
    assert "help:" in refused["detail"]


def test_in_the_journal_every_process_gives_priorities(tmp_path: Path) -> None:
    read, write = os.pipe()
    about = os.fstat(write)
    environment = {**os.environ, "JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}", "MINI_FLINK_LOG": "auto"}
    words = ["serve", str(JOBS / "speaking.py"), "--port", "0", "--data-dir", str(tmp_path / "data"), *FEW]
    command = [sys.executable, "-m", "mini_flink", *words]
    with (
        os.fdopen(read) as ours,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=write, stderr=write) as process,
    ):
        os.close(write)
        lines = []
        for line in ours:
            priority, entry = line[:3], json.loads(line[3:])
            lines.append((priority, entry["event"], entry["process"].split()[0]))
            if entry["event"] == "server.ready":
                assert post(entry["url"], "/say", {"words": "hello"}).status == 200
                process.terminate()
        assert process.wait(60) == 0
    assert {priority for priority, _, _ in lines} == {"<6>"}
    assert ("<6>", "user.output", "worker") in lines
    assert lines[-1] == ("<6>", "server.stopped", "supervisor")


def test_what_systemd_names_may_be_another_stream(tmp_path: Path) -> None:
    assert not refusal(tmp_path, is_journal=False).startswith("<3>")


def test_text_is_text_also_in_the_journal(serve: Serve) -> None:
    server = serve(JOBS / "speaking.py", *FEW, "--log", "text").start(environment={"container": "oci"})
    assert server.stop() == 0
    assert "{" not in server.output.replace("{key}", "").partition("  Try")[0]
    assert "Stopped in " in server.output

"""What a server's processes are called, load, say, and keep to themselves."""

from __future__ import annotations

import json
import os
import re
import stat

import psutil

from tests.e2e.client import post, post_all
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS

HTTP_AND_COMMAND_LINE = {"starlette", "uvicorn", "httptools", "uvloop", "asyncio", "click", "http", "email"}


def test_workers_load_no_http_code(serve: Serve) -> None:
    server = serve(JOBS / "speaking.py", "--workers", "1").start()
    modules = post(server.url, "/modules", {}).body
    assert "mini_flink.worker.process" in modules
    assert {name for name in modules if name.split(".")[0] in HTTP_AND_COMMAND_LINE} == set()
    assert [
        name for name in modules if name.startswith(("mini_flink.gateway", "mini_flink.supervisor"))
    ] == []
    assert server.stop() == 0


def test_processes_say_who_they_are(serve: Serve) -> None:
    server = serve("mini_flink.examples.running_total", "--workers", "2", "--gateways", "1").start()
    titles = {
        (each["role"], each["index"]): " ".join(psutil.Process(each["pid"]).cmdline()).strip()
        for each in server.status()["processes"]
    }
    assert titles == {
        ("supervisor", 0): "mini_flink supervisor",
        ("worker", 0): "mini_flink worker 0",
        ("worker", 1): "mini_flink worker 1",
        ("gateway", 0): "mini_flink gateway 0",
    }
    assert server.stop() == 0


def test_sockets_and_specifications_are_private(serve: Serve) -> None:
    server = serve("mini_flink.examples.running_total", "--workers", "1", "--gateways", "1").start()
    runtime_dir = json.loads((server.data_dir / "run.json").read_text())["runtime_dir"]
    names = os.listdir(runtime_dir)
    assert [name for name in names if name.endswith(".json")], "specifications are in there"
    assert [name for name in names if stat.S_ISSOCK(os.stat(f"{runtime_dir}/{name}").st_mode)]
    assert stat.S_IMODE(os.stat(runtime_dir).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(server.data_dir).st_mode) == 0o700
    assert server.stop() == 0
    assert not os.path.exists(runtime_dir)


def test_what_a_job_prints_and_logs_comes_out_whole_and_says_from_where(serve: Serve) -> None:
    server = serve(JOBS / "speaking.py", "--workers", "2", "--gateways", "2").start()
    assert server.output.count("the top level prints\n") == 1
    words = [f"{connection}.{number} " + "long " * 900 for connection in range(8) for number in range(6)]
    post_all(server.url, "/say", [[{"words": each} for each in words[start::8]] for start in range(8)])
    assert server.stop() == 0
    prefix = r"\[worker \d · Sayer · [0-9a-f]{8}-[0-9a-f]+\] "
    printed = re.findall(rf"(?m)^{prefix}printed (.*)$", server.output)
    logged = re.findall(rf"(?m)^{prefix}INFO shop: logged (.*)$", server.output)
    assert sorted(printed) == sorted(words)
    assert sorted(logged) == sorted(words)
    assert server.output.count("the top level prints\n") == 1

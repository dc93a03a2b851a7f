"""The rooms of ARCHITECTURE.md and their directions of import, kept by test."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib

import pytest

from tests.architecture.imports import IMPORTS, MODULES, ROOT, closure, cycles, outside, room

OWNERS = {
    "click": ("cli.*",),
    "fsspec": ("snapshots.remote",),
    "httptools": ("gateway.*",),
    "lmdb": ("state.lmdb",),
    "msgpack": ("snapshots.item_file", "state.layout", "values*", "wire"),
    "msgspec": ("json_codec", "value_classes"),
    "opentelemetry": ("tracing.otel",),
    "prometheus_client": ("admin.*",),
    "rich": ("cli.top_live", "cli.top_view"),
    "setproctitle": (
        "admin.process",
        "gateway.process",
        "resharder.process",
        "runners.server",
        "worker.process",
    ),
    "starlette": ("admin.*", "gateway.*"),
    "uvicorn": ("admin.*", "gateway.*"),
    "uvloop": ("gateway.process",),
    "zmq": ("transport.zmq",),
}
"""The modules that may import a dependency."""

IMPORTED_AS = {
    "opentelemetry-api": "opentelemetry",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry",
    "opentelemetry-sdk": "opentelemetry",
    "prometheus-client": "prometheus_client",
    "pyzmq": "zmq",
}

HTTP = {"starlette", "uvicorn", "httptools", "h11", "uvloop"}
LINUX_ONLY = {"fcntl", "resource", "termios", "pwd", "grp", "uvloop", "lmdb", "zmq", "setproctitle"}
INPUT_AND_OUTPUT = {
    "asyncio", "io", "mmap", "multiprocessing", "os", "pathlib", "select", "selectors", "shutil", "signal",
    "socket", "subprocess", "sys", "tempfile", "threading", "time", "zmq", "lmdb",
}  # fmt: skip

PUBLIC = ("mini_flink", "mini_flink.common", "mini_flink.datastream", "mini_flink.state_processor")


def drawn_rooms() -> list[str]:
    """The rooms in the order of the drawing in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    drawing = text.partition("## Rooms")[2].split("```")[1]
    lines = [line.split("  ")[0] for line in drawing.strip().splitlines()]
    return [name.rstrip("/") for line in lines for name in line.split()]


def test_no_module_imports_itself_in_a_circle() -> None:
    assert [" -> ".join(way) for way in cycles()] == []


def test_rooms_import_as_it_is_drawn() -> None:
    drawn = drawn_rooms()
    rooms = {room(module) for module in MODULES} - {"mini_flink"}
    assert sorted(drawn) == sorted(rooms), "every room is in the drawing once, and no other"
    place = {name: number for number, name in enumerate(drawn)}
    wrong = {
        f"{room(module)} -> {room(other)}"
        for module, names in IMPORTS.items()
        for other in names & MODULES.keys()
        if room(other) not in ("mini_flink", room(module)) and place[room(other)] >= place[room(module)]
    }
    assert wrong == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_dependency_is_imported_by_its_owner_only(module: str) -> None:
    inner = module.removeprefix("mini_flink.")
    for dependency in outside(module):
        assert any(fnmatch.fnmatch(inner, owner) for owner in OWNERS[dependency]), (
            f"{module} imports {dependency}"
        )


def test_every_dependency_is_declared_and_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["remote"] + extras["tracing"]
    declared = {re.split(r"[>=<;\[ ]", one)[0] for one in wanted}
    assert {IMPORTED_AS.get(name, name) for name in declared} == set(OWNERS)
    assert set(OWNERS) == set().union(*(outside(module) for module in MODULES))


def test_the_machines_do_no_input_or_output() -> None:
    for module in MODULES:
        if room(module) == "core":
            used = {name.split(".")[0] for name in IMPORTS[module]} & INPUT_AND_OUTPUT
            assert used == set(), f"{module} imports {used}"


def test_a_worker_reaches_no_http_code() -> None:
    reached = closure("mini_flink.worker.__main__")
    assert {room(module) for module in reached} & {"gateway", "supervisor", "cli", "runners"} == set()
    assert set().union(*map(outside, reached)) & (HTTP | {"click"}) == set()


def test_a_gateway_reaches_no_table_and_no_operator() -> None:
    reached = closure("mini_flink.gateway.__main__")
    assert {room(module) for module in reached} & {"worker", "operators", "supervisor", "cli"} == set()
    assert "mini_flink.state.lmdb" not in reached


def test_the_public_api_reaches_nothing_of_one_system_and_no_http() -> None:
    reached = closure(*PUBLIC)
    tops = {name.split(".")[0] for module in reached for name in IMPORTS[module]}
    assert tops & (HTTP | LINUX_ONLY | {"asyncio", "click"}) == set()


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_a_worker_process_loads_no_http_code() -> None:
    loaded = loaded_by("import mini_flink.worker.process")
    assert {name.split(".")[0] for name in loaded} & (HTTP | {"click", "asyncio"}) == set()


def test_the_screen_of_top_is_loaded_by_top_alone() -> None:
    processes = ("worker.process", "gateway.process", "admin.process", "resharder.process", "runners.server")
    commands = ("serve", "status", "top", "savepoint", "rescale", "upgrade", "snapshot", "dead_letters")
    modules = [f"mini_flink.{name}" for name in processes] + [f"mini_flink.cli.{name}" for name in commands]
    assert "rich" not in loaded_by(f"import {', '.join(modules)}")


def test_what_is_optional_is_loaded_only_where_it_is_asked_for() -> None:
    used = "mini_flink.snapshots.catalog", "mini_flink.worker.process", "mini_flink.gateway.process"
    loaded = loaded_by(f"import {', '.join(used)}, mini_flink.runners.server")
    assert {name.split(".")[0] for name in loaded} & {"fsspec", "opentelemetry"} == set()


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    assert {name for name in loaded_by("import mini_flink") if name.startswith("mini_flink")} == {
        "mini_flink"
    }

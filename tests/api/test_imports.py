"""What importing the public API must not bring in, and that its examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

HEAVY = (
    "zmq",
    "lmdb",
    "uvloop",
    "starlette",
    "uvicorn",
    "httptools",
    "click",
    "fcntl",
    "resource",
    "asyncio",
)


def test_the_public_api_is_light_and_runs_anywhere():
    code = "import sys, mini_flink.datastream, mini_flink.common; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(run.stdout.split())


def test_workers_code_loads_no_http():
    code = "import sys, mini_flink.operators.runtime; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"starlette", "uvicorn", "httptools", "click", "zmq", "lmdb"} & set(run.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "common.row", "common.time", "common.typeinfo", "datastream.data_stream", "datastream.functions",
        "datastream.reply", "datastream.state", "datastream.stream_execution_environment", "execution",
        "state_processor.reader", "state_processor.sorting", "state_processor.writer",
    ],
)  # fmt: skip
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"mini_flink.{module}"))
    assert result.failed == 0


def test_every_public_name_has_a_docstring():
    for room in ("mini_flink.datastream", "mini_flink.common", "mini_flink.state_processor"):
        module = importlib.import_module(room)
        assert [name for name in module.__all__ if not getattr(module, name).__doc__] == []

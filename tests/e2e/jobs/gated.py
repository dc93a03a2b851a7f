"""Requests that wait in their worker until a file is there: ``gated.py GATE``.

``POST /wait {"n"}`` answers once the gate is open, ``POST /silent`` never has an answer, ``POST /echo`` has
one at once.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from mini_flink.datastream import StreamExecutionEnvironment

GATE = sys.argv[1]


def wait(value: dict[str, Any]) -> dict[str, Any]:
    while not os.path.exists(GATE):
        time.sleep(0.005)
    return value


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/wait").map(wait).reply()
env.from_requests("/silent").filter(lambda _: False).reply()
env.from_requests("/echo").reply()
env.execute("gated")

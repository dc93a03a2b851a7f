"""Prints and logs, at its top level and in its functions, and tells what its worker has loaded.

``POST /say {"words"}`` prints and logs them; ``POST /modules`` answers with the names of all modules.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from mini_flink.datastream import StreamExecutionEnvironment

print("the top level prints")
log = logging.getLogger("shop")


def say(value: dict[str, Any]) -> dict[str, Any]:
    print("printed", end=" ")
    print(value["words"])
    log.info("logged %s", value["words"])
    return value


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/say").map(say).name("Sayer").reply()
env.from_requests("/modules").map(lambda _: sorted(sys.modules)).reply()
env.execute("speaking")

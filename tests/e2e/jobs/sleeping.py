"""A job whose workers stop in their start, and stay there, while a file is where ``argv[1]`` says."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from mini_flink.datastream import MapFunction, RuntimeContext, StreamExecutionEnvironment


class Sleeping(MapFunction[Any, Any]):
    """Opens once the file is gone."""

    def open(self, runtime_context: RuntimeContext) -> None:
        while os.path.exists(sys.argv[1]):
            time.sleep(0.05)

    def map(self, value: Any) -> Any:
        return value


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/echo").map(Sleeping()).reply()
env.execute("sleeping")

"""A job whose workers die at once, whenever they are started."""

from __future__ import annotations

import os
from typing import Any

from mini_flink.datastream import MapFunction, RuntimeContext, StreamExecutionEnvironment


class Stillborn(MapFunction[Any, Any]):
    """Ends its process before it is opened."""

    def open(self, runtime_context: RuntimeContext) -> None:
        os._exit(7)

    def map(self, value: Any) -> Any:
        return value


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/never").map(Stillborn()).reply()
env.execute("stillborn")

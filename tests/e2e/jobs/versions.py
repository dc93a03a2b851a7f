"""A job in versions: ``versions.py VERSION``; ``POST /total {"key", "amount"}`` adds up, and says who did.

``1``; ``2`` (says more); ``typed`` (the total is a float, with a migration); ``dropped`` (counts no more);
``broken`` (raises for every record); ``stillborn`` (raises in ``open``); ``foreign`` (another job).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

VERSION = sys.argv[1]

TOTAL: ValueStateDescriptor[Any] = ValueStateDescriptor("total", int)
if VERSION == "typed":
    TOTAL = ValueStateDescriptor("total", float).migrate_from(int, lambda total: total + 0.5)


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Adds up, and counts."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(TOTAL)
        if VERSION == "stillborn":
            raise RuntimeError("it does not open")
        if VERSION != "dropped":
            self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        if VERSION == "broken":
            raise RuntimeError("it does not work")
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        reply = {"total": total}
        if VERSION != "dropped":
            self.count.update((self.count.value() or 0) + 1)
            reply["count"] = self.count.value()
        if VERSION != "1":
            reply["version"] = VERSION
        yield reply


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()
env.execute("another" if VERSION == "foreign" else "versions")

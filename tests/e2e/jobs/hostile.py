"""Names that no page must take for anything but text: markup, another direction, too long.

``POST /total {"key", "amount"}``: a record whose amount is 0 fails, with a message as hostile as the names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

MARKUP = "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>"
TURNED = "\u05e9\u05dc\u05d5\u05dd &amp; %2F?a=b#c"
LONG = "W" * 200


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Adds up."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        if value["amount"] == 0:
            raise ValueError(f"{MARKUP}\u202e{TURNED}{LONG}")
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        yield {"total": total}


def find_key(value: dict[str, Any]) -> str:
    key: str = value["key"]
    return key


def pass_on(value: dict[str, Any]) -> dict[str, Any]:
    return value


env = StreamExecutionEnvironment.get_execution_environment()
source = env.from_requests("/total").map(pass_on).name(MARKUP).uid(MARKUP)
turned = source.map(pass_on).name(TURNED).uid(TURNED)
turned.key_by(find_key).process(Total()).name(LONG).uid(LONG).reply()
env.execute("<b>hostile \u05e9\u05dc\u05d5\u05dd " + "J" * 60)

"""A total per key that survives ``kill -9``: the smallest job with keyed state.

    $ python -m mini_flink serve mini_flink.examples.running_total
    $ curl localhost:7071/total -X POST -d '{"key":"k17","amount":3}'
    {"key":"k17","total":3}

``key_by`` sends all requests for a key to one subtask of the operator behind it, in order. There the key has
its own ``ValueState``: read it, change it, give it back with ``update``. The reply leaves only after the new
total is durable, and each request changes it once, whatever process dies in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mini_flink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor


class Total(KeyedProcessFunction[str, dict[str, Any], dict[str, Any]]):
    """Adds amounts up, key by key."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Called once per subtask, before the first record: the place to ask for state."""
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(
        self, value: dict[str, Any], ctx: KeyedProcessFunction.Context
    ) -> Iterator[dict[str, Any]]:
        """Called for each record; the state is that of the record's key."""
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)  # durable before the reply leaves
        yield {"key": ctx.get_current_key(), "total": total}


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_requests("/total")  # POST a JSON object
    .key_by(lambda value: value["key"])  # one key, one worker, in order
    .process(Total())
    .uid("total")  # the name under which the state is found again
    .reply()
)
env.execute("running-total")

"""A job without a single annotation; type checkers must have nothing against it. Never run."""

from mini_flink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor


class Total(KeyedProcessFunction):
    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total"))

    def process_element(self, value, ctx):
        total = (self.total.value() or 0) + value["amount"]
        self.total.update(total)
        yield {"key": ctx.get_current_key(), "total": total}


env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()
env.execute("running-total")

"""A job whose way divides, comes together again and has a name full of signs."""

from typing import Any

from mini_flink.datastream import StreamExecutionEnvironment


def same(value: Any) -> Any:
    return value


print("a job may say something while it is loaded")
env = StreamExecutionEnvironment.get_execution_environment()
orders = env.from_requests("/orders").map(same).uid("clean")
left = orders.map(same).uid("left")
right = orders.key_by(lambda value: value["key"]).map(same).uid('"right" <b> & co')
left.union(right).map(same).uid("both").set_parallelism(1).reply()
left.map(same).uid("aside").print()
env.execute("branching <job>")

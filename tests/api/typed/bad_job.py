"""Mistakes that a type checker must find, each on a line marked WRONG; never run."""

from collections.abc import Iterator

from mini_flink.datastream import KeyedProcessFunction, MapFunction, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor


class Length(MapFunction[str, int]):
    def map(self, value: str) -> int:
        return len(value)


class Count(KeyedProcessFunction[str, str, int]):
    def process_element(self, value: str, ctx: KeyedProcessFunction.Context) -> Iterator[int]:
        yield len(value)


env = StreamExecutionEnvironment.get_execution_environment()
numbers = env.from_collection([1, 2])
numbers.map(Length())  # WRONG: takes str
numbers.map(lambda number: number.upper())  # WRONG: an int has no upper
numbers.reduce(lambda a, b: a + b)  # WRONG: not keyed
env.from_collection(["a"]).process(Count())  # WRONG: not keyed
env.from_collection(["a"]).key_by(len).process(Count())  # WRONG: the key is an int
numbers.reply(status="200")  # WRONG: status is an int
ValueStateDescriptor("total", int).migrate_from(str, len).migrate_from(bytes, str)  # WRONG: gives a str

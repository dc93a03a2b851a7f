"""A job as a user writes it with types; checked by type checkers, never run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from mini_flink.common import Duration, Types
from mini_flink.datastream import (
    AggregateFunction,
    Counter,
    DataStream,
    DataStreamSink,
    KeyedProcessFunction,
    KeyedStream,
    KeySelector,
    MapFunction,
    ProcessFunction,
    Reply,
    Request,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from mini_flink.datastream.state import (
    AggregatingState,
    AggregatingStateDescriptor,
    ListState,
    ListStateDescriptor,
    MapState,
    MapStateDescriptor,
    ReducingState,
    ReducingStateDescriptor,
    ValueState,
    ValueStateDescriptor,
)


@dataclass
class Payment:
    account: str
    amount: int


class Parse(MapFunction[dict[str, Any], Payment]):
    def map(self, value: dict[str, Any]) -> Payment:
        return Payment(value["account"], value["amount"])


class ByAccount(KeySelector[Payment, str]):
    def get_key(self, value: Payment) -> str:
        return value.account


class Mean(AggregateFunction[int, tuple[int, int], float]):
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]

    def merge(self, acc_a: tuple[int, int], acc_b: tuple[int, int]) -> tuple[int, int]:
        return acc_a[0] + acc_b[0], acc_a[1] + acc_b[1]


class Total(KeyedProcessFunction[str, Payment, Reply]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))
        self.history = runtime_context.get_list_state(ListStateDescriptor("history", Types.INT()))
        self.by_day = runtime_context.get_map_state(MapStateDescriptor("by_day", str, Types.INT()))
        self.most = runtime_context.get_reducing_state(ReducingStateDescriptor("most", self.larger, int))
        self.mean = runtime_context.get_aggregating_state(AggregatingStateDescriptor("mean", Mean()))
        metrics = runtime_context.get_metrics_group().add_group("bank", "north")
        assert_type(metrics.counter("seen"), Counter)
        metrics.gauge("level", lambda: 0.5)
        changed = ValueStateDescriptor("changed", float).migrate_from(int, float).migrate_from(None, float)
        assert_type(runtime_context.get_state(changed), ValueState[float])
        names = MapStateDescriptor("names", int, str).migrate_from(
            Types.INT(), lambda number: str(number + 1)
        )
        assert_type(runtime_context.get_map_state(names), MapState[int, str])
        assert_type(self.total, ValueState[int])
        assert_type(self.history, ListState[int])
        assert_type(self.by_day, MapState[str, int])
        assert_type(self.most, ReducingState[int])
        assert_type(self.mean, AggregatingState[int, float])

    @staticmethod
    def larger(first: int, second: int) -> int:
        return max(first, second)

    def process_element(self, value: Payment, ctx: KeyedProcessFunction.Context) -> Iterator[Reply]:
        total = (self.total.value() or 0) + value.amount
        self.total.update(total)
        assert_type(self.total.value(), int | None)
        assert_type(self.history.get(), list[int])
        assert_type(self.mean.get(), float | None)
        yield Reply({"total": total, "at": ctx.timestamp(), "id": ctx.request_id()}, status=201)


class Twice(ProcessFunction[int, int]):
    def process_element(self, value: int, ctx: ProcessFunction.Context) -> list[int]:
        return [value, value]


def words(line: str) -> Iterator[str]:
    yield from line.split()


env = StreamExecutionEnvironment.get_execution_environment()

events = env.from_requests("/event", "POST", timeout=Duration.of_seconds(3))
assert_type(events, DataStream[dict[str, Any]])
assert_type(env.from_requests("/dict", type_info=dict), DataStream[dict[str, Any]])
assert_type(env.from_requests("/raw", type_info=bytes), DataStream[bytes])
requests = env.from_requests("/all/{id:int}", ["GET", "PUT"], type_info=Request, headers=["user-agent"])
assert_type(requests, DataStream[Request])
assert_type(requests.map(lambda request: request.headers), DataStream[dict[str, str]])
assert_type(env.from_requests("/any", type_info=object), DataStream[Any])

payments = events.map(Parse()).name("parse").uid("parse").set_parallelism(2)
assert_type(payments, DataStream[Payment])
assert_type(payments.map(lambda payment: payment.amount), DataStream[int])
assert_type(payments.filter(lambda payment: payment.amount > 0), DataStream[Payment])
assert_type(payments.flat_map(lambda payment: [payment.amount]), DataStream[int])
assert_type(env.from_collection(["a b"]).flat_map(words), DataStream[str])
assert_type(env.from_collection([1]).process(Twice()), DataStream[int])

assert_type(payments.key_by(lambda payment: payment.account), KeyedStream[str, Payment])
assert_type(payments.key_by(ByAccount()), KeyedStream[str, Payment])
assert_type(payments.key_by(ByAccount()).process(Total()), DataStream[Reply])
amounts = payments.map(lambda payment: payment.amount)
assert_type(amounts.key_by(lambda amount: amount % 2).reduce(lambda a, b: a + b), DataStream[int])
assert_type(amounts.union(env.from_collection([2, 3])), DataStream[int])
assert_type(payments.key_by(ByAccount()).process(Total()).reply(200, headers={"x-a": "b"}), DataStreamSink)
assert_type(amounts.print().name("printed"), DataStreamSink)

env.execute("typed")

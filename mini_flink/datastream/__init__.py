"""What a job imports: streams, functions and states with PyFlink's names, and requests and replies.

Building a job runs nothing: each call appends to a graph (``builder``), and ``env.execute()`` freezes it.
Nothing in here needs Linux, HTTP code or a running server.
"""

from mini_flink.datastream.data_stream import DataStream, DataStreamSink, KeyedStream
from mini_flink.datastream.functions import (
    AggregateFunction,
    FilterFunction,
    FlatMapFunction,
    Function,
    KeyedProcessFunction,
    KeySelector,
    MapFunction,
    ProcessFunction,
    ReduceFunction,
    RuntimeContext,
    TimersNotAvailableError,
)
from mini_flink.datastream.metrics import Counter, Distribution, Meter, MetricGroup
from mini_flink.datastream.reply import Reply
from mini_flink.datastream.request import Request
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
from mini_flink.datastream.stream_execution_environment import StreamExecutionEnvironment

__all__ = [
    "AggregateFunction",
    "AggregatingState",
    "AggregatingStateDescriptor",
    "Counter",
    "DataStream",
    "DataStreamSink",
    "Distribution",
    "FilterFunction",
    "FlatMapFunction",
    "Function",
    "KeySelector",
    "KeyedProcessFunction",
    "KeyedStream",
    "ListState",
    "ListStateDescriptor",
    "MapFunction",
    "MapState",
    "MapStateDescriptor",
    "Meter",
    "MetricGroup",
    "ProcessFunction",
    "ReduceFunction",
    "ReducingState",
    "ReducingStateDescriptor",
    "Reply",
    "Request",
    "RuntimeContext",
    "StreamExecutionEnvironment",
    "TimersNotAvailableError",
    "ValueState",
    "ValueStateDescriptor",
]

"""The streams that a job is written with: each call appends an operator to the graph and returns its stream.

Generic in the type of the values, so that an editor completes and a type checker follows a job. Nothing runs
here.
"""

# ruff: noqa: ARG002 - key_type and output_type are PyFlink's; nothing is to be declared here

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from mini_flink.datastream.builder import Draft, GraphBuilder, checked_parallelism
from mini_flink.datastream.checks import check_function, function_name, selector_function
from mini_flink.datastream.functions import (
    Context,
    FilterFunction,
    FlatMapFunction,
    KeyedContext,
    KeyedProcessFunction,
    KeySelector,
    MapFunction,
    ProcessFunction,
    ReduceFunction,
)
from mini_flink.datastream.location import user_location
from mini_flink.datastream.reply import checked_content_type, checked_headers, checked_status
from mini_flink.errors import JobError, Location
from mini_flink.graph import Edge, Options, ReplyOptions

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T", covariant=True)
U = TypeVar("U")
K = TypeVar("K")
Key = TypeVar("Key", covariant=True)


class _Named:
    """What streams and sinks have in common: the operator behind them can be named."""

    def __init__(self, builder: GraphBuilder, draft: Draft | None) -> None:
        self._builder = builder
        self._draft = draft

    def name(self, name: str) -> Self:
        """Names the operator in logs, errors and pages."""
        draft, location = self._operator("name"), user_location()
        draft.name = _checked_text("name", name, location)
        return self

    def uid(self, uid: str) -> Self:
        """Names the operator across versions of the job: its state is found by this.

        A generated one is made of the operator's name and of all that stands before it; if that changes while
        there is state, the start is refused.
        """
        draft, location = self._operator("uid"), user_location()
        draft.uid = _checked_text("uid", uid, location)
        return self

    def set_parallelism(self, parallelism: int) -> Self:
        """The operator's number of subtasks (default: the environment's, else the number of workers)."""
        draft, location = self._operator("set_parallelism"), user_location()
        declared = checked_parallelism(parallelism, location)
        if draft.single and parallelism != 1:
            raise JobError(
                f"the source {draft.name!r} has one subtask",
                help="set the parallelism of the operator behind it",
                location=location,
            )
        draft.parallelism = declared
        return self

    def _operator(self, call: str) -> Draft:
        if self._draft is None:
            raise JobError(
                f"{call}() has no operator to act on here: key_by and union are none",
                help="call it behind the operator that follows",
                location=user_location(),
            )
        return self._draft


class DataStreamSink(_Named):
    """The end of a stream."""


class DataStream(_Named, Generic[T]):
    """A stream of values of type ``T``.

    Functions may be plain functions, lambdas or objects of the function classes. ``output_type`` is
    PyFlink's and may be left out: values keep their Python types.
    """

    def __init__(self, builder: GraphBuilder, edges: tuple[Edge, ...], draft: Draft | None = None) -> None:
        super().__init__(builder, draft)
        self._edges = edges

    def map(self, func: Callable[[T], U] | MapFunction[T, U], output_type: Any = None) -> DataStream[U]:
        """One value for each.

        >>> from mini_flink.datastream import StreamExecutionEnvironment
        >>> env = StreamExecutionEnvironment.get_execution_environment()
        >>> doubled = env.from_collection([1, 2]).map(lambda value: value * 2)
        """
        return self._function("map", func, MapFunction)

    def flat_map(
        self,
        func: Callable[[T], Iterable[U] | None] | FlatMapFunction[T, U],
        output_type: Any = None,
    ) -> DataStream[U]:
        """Any number of values for each: what a generator yields, or an iterable holds; ``None`` is none."""
        return self._function("flat_map", func, FlatMapFunction)

    def filter(self, func: Callable[[T], object] | FilterFunction[T]) -> DataStream[T]:
        """The values for which the function is true."""
        return self._function("filter", func, FilterFunction)

    def process(
        self,
        func: ProcessFunction[T, U] | Callable[[T, Context], Iterable[U] | None],
        output_type: Any = None,
    ) -> DataStream[U]:
        """Like ``flat_map``, with a context as second argument."""
        if isinstance(func, KeyedProcessFunction):
            raise JobError(
                f"{type(func).__name__} is a KeyedProcessFunction, but this stream is not keyed",
                help="put .key_by(…) before .process(…), or derive from ProcessFunction",
                location=user_location(),
            )
        return self._function("process", func, ProcessFunction, "process_element")

    def key_by(
        self, key_selector: Callable[[T], K] | KeySelector[T, K], key_type: Any = None
    ) -> KeyedStream[K, T]:
        """Partitions by key: all values of a key go to one subtask of the operator that follows, in order.

        A key is a str, bytes, int, bool, Enum, UUID, date, datetime, or a tuple of these. Directly behind a
        source of requests the selector runs in the gateway.
        """
        location = user_location()
        selector = selector_function(key_selector, location)
        edges = tuple(Edge(edge.source, selector, location) for edge in self._edges)
        return KeyedStream(self._builder, edges)

    def union(self, *streams: DataStream[U]) -> DataStream[T | U]:
        """The values of this stream and of others."""
        location = user_location()
        if not streams:
            raise JobError("union() of nothing", help="give it one stream or more", location=location)
        for stream in streams:
            if not isinstance(stream, DataStream) or stream._builder is not self._builder:
                raise JobError(
                    "union() was given what is no stream of this environment",
                    help="make all streams of a job from one StreamExecutionEnvironment",
                    location=location,
                )
        edges = (edge for stream in (self, *streams) for edge in stream._edges)
        return DataStream(self._builder, tuple(Edge(edge.source) for edge in edges))

    def print(self) -> DataStreamSink:
        """Prints ``str()`` of each value, and a line end, to the worker's standard output."""
        return self._sink("print", user_location())

    def reply(
        self,
        status: int = 200,
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> DataStreamSink:
        """Answers the request that a value comes from.

        A ``Reply`` is sent as it says, ``bytes`` as they are, ``None`` as 204 (with its own status, if
        another one is given here), everything else as JSON. The first reply to a request is sent, later ones
        are dropped. The stream may go on to other operators.
        """
        location = user_location()
        if not self._builder.has_request_upstream(self._edges):
            raise JobError(
                "reply() has no request to answer: no from_requests() is upstream",
                help="use print(), or begin the stream with env.from_requests(path)",
                location=location,
            )
        return self._sink("reply", location, _reply_options(status, headers, content_type, location))

    if not TYPE_CHECKING:  # a type checker misses it by itself; at run time the remedy is named

        def reduce(self, func: Any) -> NoReturn:
            raise JobError(
                "reduce() needs a keyed stream",
                help="put .key_by(…) before .reduce(…)",
                location=user_location(),
            )

    def _function(self, kind: str, function: Any, function_class: type, method: str = "") -> DataStream[Any]:
        location = user_location()
        check_function(kind, function, function_class, method or kind, location)
        draft = self._builder.add(
            kind, function_name(function, kind), location, function=function, inputs=self._edges
        )
        return DataStream(self._builder, (Edge(draft.id),), draft)

    def _sink(self, kind: str, location: Location, options: Options | None = None) -> DataStreamSink:
        draft = self._builder.add(kind, kind, location, inputs=self._edges, options=options)
        return DataStreamSink(self._builder, draft)


class KeyedStream(DataStream[T], Generic[Key, T]):
    """A stream that is partitioned by key: the operator that follows may have keyed state."""

    def process(
        self,
        func: KeyedProcessFunction[Key, T, U]
        | ProcessFunction[T, U]
        | Callable[[T, KeyedContext[Key]], Iterable[U] | None],
        output_type: Any = None,
    ) -> DataStream[U]:
        """Like ``flat_map``, with a context that knows the key.

        >>> from mini_flink.datastream import StreamExecutionEnvironment
        >>> def tagged(value, ctx):
        ...     yield ctx.get_current_key(), value
        >>> env = StreamExecutionEnvironment.get_execution_environment()
        >>> stream = env.from_collection([1, 2, 3]).key_by(lambda value: value % 2).process(tagged)
        """
        kind = KeyedProcessFunction if isinstance(func, KeyedProcessFunction) else ProcessFunction
        return self._function("process", func, kind, "process_element")

    def reduce(self, func: Callable[[T, T], T] | ReduceFunction[T], output_type: Any = None) -> DataStream[T]:
        """Combines each value with what its key's values gave before, keeps the result and passes it on."""
        return self._function("reduce", func, ReduceFunction)


def _checked_text(what: str, text: object, location: Location) -> str:
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > 200:
        raise JobError(
            f"{what} {text!r} is not a printable text of 1 to 200 characters",
            help=f"give a short {what}",
            location=location,
        )
    return text


def _reply_options(
    status: int, headers: Mapping[str, str] | None, content_type: str | None, location: Location
) -> ReplyOptions:
    try:
        return ReplyOptions(
            status=checked_status(status),
            headers=tuple(checked_headers(headers or {})),
            content_type=None if content_type is None else checked_content_type(content_type),
        )
    except ValueError as error:
        raise JobError(f"reply(): {error}", help="see the arguments of reply()", location=location) from error

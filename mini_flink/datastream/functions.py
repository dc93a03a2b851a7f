"""The classes that user functions derive from, and the contexts that they are given; PyFlink's names.

Only interfaces: the contexts are implemented in ``operators.context``. Plain functions serve where a class
needs neither ``open`` nor state.
"""

# ruff: noqa: B024, B027 - open and close may be left out, as in PyFlink

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

from mini_flink.datastream.metrics import MetricGroup
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
from mini_flink.errors import JobError

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Acc = TypeVar("Acc")
In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Key = TypeVar("Key", covariant=True)
KeyIn = TypeVar("KeyIn", contravariant=True)
InAny = TypeVar("InAny")
OutAny = TypeVar("OutAny")


class TimersNotAvailableError(JobError):
    """This version has no timers yet."""


class RuntimeContext(ABC):
    """What ``open`` is given: where the function runs, its states and its metrics.

    States are to be had inside ``open`` only, and only behind a ``key_by``.
    """

    @abstractmethod
    def get_task_name(self) -> str:
        """The operator's name."""

    @abstractmethod
    def get_task_name_with_subtasks(self) -> str:
        """The operator's name, the subtask (from 1) and their number: ``total (1/2)``."""

    @abstractmethod
    def get_index_of_this_subtask(self) -> int:
        """The subtask's index, from 0."""

    @abstractmethod
    def get_number_of_parallel_subtasks(self) -> int:
        """The operator's parallelism."""

    @abstractmethod
    def get_max_number_of_parallel_subtasks(self) -> int:
        """The number of key groups."""

    @abstractmethod
    def get_metrics_group(self) -> MetricGroup:
        """What the function counts and measures; to be had inside ``open`` only."""

    @abstractmethod
    def get_state(self, state_descriptor: ValueStateDescriptor[T]) -> ValueState[T]:
        """One value per key."""

    @abstractmethod
    def get_list_state(self, state_descriptor: ListStateDescriptor[T]) -> ListState[T]:
        """A list per key."""

    @abstractmethod
    def get_map_state(self, state_descriptor: MapStateDescriptor[K, V]) -> MapState[K, V]:
        """A map per key."""

    @abstractmethod
    def get_reducing_state(self, state_descriptor: ReducingStateDescriptor[T]) -> ReducingState[T]:
        """Elements combined into one, per key."""

    @abstractmethod
    def get_aggregating_state(
        self, state_descriptor: AggregatingStateDescriptor[InAny, Acc, OutAny]
    ) -> AggregatingState[InAny, OutAny]:
        """Elements added to an accumulator, per key."""


class Function(ABC):
    """Base of all function classes. Each subtask works on its own copy of the object that the job made."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Called once per subtask, in its worker, before the first record."""

    def close(self) -> None:
        """Called once per subtask, after the last record of an orderly end."""


class MapFunction(Function, Generic[In, Out]):
    """One value in, one out."""

    @abstractmethod
    def map(self, value: In) -> Out:
        """The value that goes on."""


class FlatMapFunction(Function, Generic[In, Out]):
    """One value in, any number out."""

    @abstractmethod
    def flat_map(self, value: In) -> Iterable[Out] | None:
        """Yields the values that go on."""


class FilterFunction(Function, Generic[In]):
    """Keeps or drops a value."""

    @abstractmethod
    def filter(self, value: In) -> bool:
        """Whether the value goes on."""


class ReduceFunction(Function, Generic[T]):
    """Combines two values into one of the same type."""

    @abstractmethod
    def reduce(self, value1: T, value2: T) -> T:
        """``value1`` is what was combined so far."""


class AggregateFunction(Function, Generic[InAny, Acc, OutAny]):
    """Adds values to an accumulator, and makes a result of it."""

    @abstractmethod
    def create_accumulator(self) -> Acc:
        """An empty accumulator."""

    @abstractmethod
    def add(self, value: InAny, accumulator: Acc) -> Acc:
        """The accumulator with the value in it."""

    @abstractmethod
    def get_result(self, accumulator: Acc) -> OutAny:
        """The result so far."""

    @abstractmethod
    def merge(self, acc_a: Acc, acc_b: Acc) -> Acc:
        """Two accumulators as one."""


class KeySelector(ABC, Generic[In, Key]):
    """Finds a value's key. It runs wherever records are sent from, so it has neither ``open`` nor state."""

    @abstractmethod
    def get_key(self, value: In) -> Key:
        """The key: str, bytes, int, bool, Enum, UUID, date, datetime, or a tuple of these."""


class Context(ABC):
    """What ``process_element`` is given beside the value. It is valid during that call only."""

    @abstractmethod
    def timestamp(self) -> int | None:
        """When the request arrived, in Unix milliseconds; ``None`` for what comes from no request."""

    @abstractmethod
    def request_id(self) -> str | None:
        """The id of the request that the value comes from, the same at all operators, or ``None``."""

    @abstractmethod
    def timer_service(self) -> NoReturn:
        """Not there yet: raises ``TimersNotAvailableError``."""
        raise NotImplementedError


class KeyedContext(Context, Generic[Key]):
    """The context behind a ``key_by``."""

    @abstractmethod
    def get_current_key(self) -> Key:
        """The key of the value that is being processed."""


class ProcessFunction(Function, Generic[In, Out]):
    """Like ``FlatMapFunction``, with a context."""

    Context: TypeAlias = Context

    @abstractmethod
    def process_element(self, value: In, ctx: Context) -> Iterable[Out] | None:
        """Yields the values that go on."""


class KeyedProcessFunction(Function, Generic[KeyIn, In, Out]):
    """Like ``ProcessFunction``, with the current key; for a stream behind a ``key_by``.

    >>> from mini_flink.datastream.state import ValueStateDescriptor
    >>> class Total(KeyedProcessFunction):
    ...     def open(self, runtime_context):
    ...         self.total = runtime_context.get_state(ValueStateDescriptor("total"))
    ...
    ...     def process_element(self, value, ctx):
    ...         total = (self.total.value() or 0) + value["amount"]
    ...         self.total.update(total)
    ...         yield {"key": ctx.get_current_key(), "total": total}
    """

    Context: TypeAlias = KeyedContext[Any]

    @abstractmethod
    def process_element(self, value: In, ctx: KeyedContext[KeyIn]) -> Iterable[Out] | None:
        """Yields the values that go on."""

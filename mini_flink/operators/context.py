"""The contexts that user functions are given; one object per operator and subtask, used for all records."""

from __future__ import annotations

from typing import Any, NoReturn

from mini_flink.datastream.functions import (
    Context,
    KeyedContext,
    RuntimeContext,
    TimersNotAvailableError,
)
from mini_flink.datastream.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from mini_flink.errors import JobError
from mini_flink.graph import Node
from mini_flink.keys import decode_key
from mini_flink.metrics import Registry
from mini_flink.operators.base import CurrentRecord, KeyedStore, StateRegistry
from mini_flink.operators.metrics import OperatorMetrics
from mini_flink.operators.state import (
    Slot,
    StoredAggregation,
    StoredList,
    StoredMap,
    StoredReduction,
    StoredValue,
)


class States:
    """Makes the states of one operator in one subtask; ``declared`` are those that it has made, in order."""

    def __init__(
        self,
        node: Node,
        number: int,
        parallelism: int,
        record: CurrentRecord,
        store: KeyedStore,
        registry: StateRegistry,
    ) -> None:
        self.declared: list[StateDescriptor[Any]] = []
        self._node = node
        self._number = number
        self._parallelism = parallelism
        self._record = record
        self._store = store
        self._registry = registry

    def slot(self, descriptor: StateDescriptor[Any]) -> Slot:
        """The place of a state, which the registry knows from now on."""
        node = self._node
        if not node.keyed:
            raise JobError(
                f"operator {node.name!r} asks for the state {descriptor.name!r}, but its stream is not keyed",
                help="put .key_by(…) directly before it: state belongs to a key",
                location=node.location,
            )
        index = self._registry.register(
            self._number, descriptor.name, descriptor.kind, descriptor.type_text, self._parallelism
        )
        self.declared.append(descriptor)
        return Slot(self._record, self._store, self._number, index)


class WorkerRuntimeContext(RuntimeContext):
    """Hands out states and metrics while ``open`` runs."""

    def __init__(
        self,
        node: Node,
        subtask: int,
        parallelism: int,
        max_parallelism: int,
        states: States,
        metrics: Registry,
    ) -> None:
        self.opening = False
        self._node = node
        self._subtask = subtask
        self._parallelism = parallelism
        self._max_parallelism = max_parallelism
        self._states = states
        labels = {"operator": node.uid, "subtask": str(subtask)}
        self._metrics = OperatorMetrics(metrics, node, labels, lambda: self.opening)

    def get_task_name(self) -> str:
        return self._node.name

    def get_task_name_with_subtasks(self) -> str:
        return f"{self._node.name} ({self._subtask + 1}/{self._parallelism})"

    def get_index_of_this_subtask(self) -> int:
        return self._subtask

    def get_number_of_parallel_subtasks(self) -> int:
        return self._parallelism

    def get_max_number_of_parallel_subtasks(self) -> int:
        return self._max_parallelism

    def get_metrics_group(self) -> OperatorMetrics:
        if not self.opening:
            raise self._outside_open("get_metrics_group")
        return self._metrics

    def get_state(self, state_descriptor: ValueStateDescriptor[Any]) -> StoredValue:
        return StoredValue(self._slot("get_state", state_descriptor, ValueStateDescriptor))

    def get_list_state(self, state_descriptor: ListStateDescriptor[Any]) -> StoredList:
        return StoredList(self._slot("get_list_state", state_descriptor, ListStateDescriptor))

    def get_map_state(self, state_descriptor: MapStateDescriptor[Any, Any]) -> StoredMap:
        return StoredMap(self._slot("get_map_state", state_descriptor, MapStateDescriptor))

    def get_reducing_state(self, state_descriptor: ReducingStateDescriptor[Any]) -> StoredReduction:
        slot = self._slot("get_reducing_state", state_descriptor, ReducingStateDescriptor)
        function = state_descriptor.reduce_function
        return StoredReduction(slot, function if callable(function) else function.reduce)

    def get_aggregating_state(
        self, state_descriptor: AggregatingStateDescriptor[Any, Any, Any]
    ) -> StoredAggregation:
        slot = self._slot("get_aggregating_state", state_descriptor, AggregatingStateDescriptor)
        return StoredAggregation(slot, state_descriptor.agg_function)

    def _slot(
        self, call: str, descriptor: StateDescriptor[Any], expected: type[StateDescriptor[Any]]
    ) -> Slot:
        node = self._node
        if not self.opening:
            raise self._outside_open(call)
        if not isinstance(descriptor, expected):
            raise JobError(
                f"{call}() of operator {node.name!r} takes a {expected.__name__}, "
                f"not {type(descriptor).__name__}",
                help=f'write runtime_context.{call}({expected.__name__}("name"))',
                location=node.location,
            )
        return self._states.slot(descriptor)

    def _outside_open(self, call: str) -> JobError:
        return JobError(
            f"operator {self._node.name!r} calls {call}() outside open()",
            help="call it in open() and keep what it gives in an attribute",
            location=self._node.location,
        )


class WorkerContext(Context):
    """What ``process_element`` is given on a stream that is not keyed."""

    def __init__(self, record: CurrentRecord, node: Node) -> None:
        self._record = record
        self._node = node

    def timestamp(self) -> int | None:
        origin = self._record.origin
        return None if origin is None else origin.timestamp_ms

    def request_id(self) -> str | None:
        return self._record.request_id() or None

    def timer_service(self) -> NoReturn:
        raise TimersNotAvailableError(
            f"operator {self._node.name!r} asks for timers, which this version does not have yet",
            help="compare ctx.timestamp() with a time kept in state until a version has them",
            location=self._node.location,
        )


class KeyedWorkerContext(WorkerContext, KeyedContext[Any]):
    """What ``process_element`` is given behind a ``key_by``; it decodes a record's key once."""

    def __init__(self, record: CurrentRecord, node: Node) -> None:
        super().__init__(record, node)
        self._decoded_from: bytes | None = None
        self._key: Any = None

    def get_current_key(self) -> Any:
        encoded = self._record.key
        if encoded is not self._decoded_from:
            self._key = None if encoded is None else decode_key(encoded)
            self._decoded_from = encoded
        return self._key

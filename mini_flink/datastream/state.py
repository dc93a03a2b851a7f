"""Keyed state as user functions see it: descriptors, and the interfaces that ``RuntimeContext`` hands out.

Reading gives a fresh value each time; changing it changes nothing until it is given back (``update``,
``put``, ``add``). What a record changed is durable before its reply leaves, and undone if the record fails.
The interfaces are implemented in ``operators.state``. What a changed job does to what is stored stands in the
descriptors, too (``migrate_from``); ``operators.declared`` collects it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar, overload

from mini_flink.common.typeinfo import TypeInformation
from mini_flink.datastream.location import user_location
from mini_flink.datastream.unawaited import refuse_async
from mini_flink.errors import JobError, Location

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Old = TypeVar("Old")
In = TypeVar("In", contravariant=True)
Acc = TypeVar("Acc")
Out = TypeVar("Out", covariant=True)

TypeHint = TypeInformation[T] | type[T] | None


class Reduces(Protocol[T]):
    """What a ``ReduceFunction`` does (``functions`` imports this module, not the other way round)."""

    def reduce(self, value1: T, value2: T) -> T: ...


class Aggregates(Protocol[In, Acc, Out]):
    """What an ``AggregateFunction`` does."""

    def create_accumulator(self) -> Acc: ...
    def add(self, value: In, accumulator: Acc) -> Acc: ...
    def get_result(self, accumulator: Acc) -> Out: ...


class State(ABC):
    """A state of the current key."""

    @abstractmethod
    def clear(self) -> None:
        """Removes what is kept for the current key."""


class ValueState(State, Generic[T]):
    """One value per key."""

    @abstractmethod
    def value(self) -> T | None:
        """The value of the current key, or ``None`` if it has none."""

    @abstractmethod
    def update(self, value: T | None) -> None:
        """Sets the value of the current key; ``None`` removes it."""


class AppendingState(State, Generic[In, Out]):
    """A state to which elements are added."""

    @abstractmethod
    def get(self) -> Out | None:
        """What was made of the elements, or ``None`` if there are none."""

    @abstractmethod
    def add(self, value: In) -> None:
        """Adds an element."""


class ReducingState(AppendingState[T, T]):
    """Elements are combined into one of their own type by a ``ReduceFunction``."""


class AggregatingState(AppendingState[In, Out]):
    """Elements are added to an accumulator by an ``AggregateFunction``."""


class ListState(State, Generic[T]):
    """A list of elements per key."""

    @abstractmethod
    def get(self) -> list[T]:
        """The elements, oldest first; an empty list if there are none."""

    @abstractmethod
    def add(self, value: T) -> None:
        """Appends an element."""

    @abstractmethod
    def add_all(self, values: Iterable[T]) -> None:
        """Appends elements."""

    @abstractmethod
    def update(self, values: Iterable[T]) -> None:
        """Replaces the elements."""


class MapState(State, Generic[K, V]):
    """A map per key, whose entries are read and written one by one; its keys are of the types of keys."""

    @abstractmethod
    def get(self, key: K) -> V | None:
        """The entry's value, or ``None``."""

    @abstractmethod
    def put(self, key: K, value: V) -> None:
        """Sets an entry."""

    @abstractmethod
    def put_all(self, dict_value: Mapping[K, V]) -> None:
        """Sets entries."""

    @abstractmethod
    def remove(self, key: K) -> None:
        """Removes an entry if it is there."""

    @abstractmethod
    def contains(self, key: K) -> bool:
        """Whether there is such an entry."""

    @abstractmethod
    def items(self) -> Iterable[tuple[K, V]]:
        """The entries, in an order that is stable but has no meaning."""

    @abstractmethod
    def keys(self) -> Iterable[K]:
        """The entries' keys."""

    @abstractmethod
    def values(self) -> Iterable[V]:
        """The entries' values."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there are no entries."""

    def __getitem__(self, key: K) -> V | None:
        return self.get(key)

    def __setitem__(self, key: K, value: V) -> None:
        self.put(key, value)

    def __delitem__(self, key: K) -> None:
        self.remove(key)

    def __contains__(self, key: K) -> bool:
        return self.contains(key)

    def __iter__(self) -> Iterator[K]:
        return iter(self.keys())


class Migration(NamedTuple):
    """What makes a value of an older type one of the declared type, and the user's line that gave it."""

    function: Callable[[Any], Any]
    location: Location


class StateDescriptor(Generic[T]):
    """A state's name, unique in its operator, and its type: what a restarted job finds it by.

    ``T`` is the type of what is stored. ``migrations`` are by the older type's text.
    """

    kind = ""

    def __init__(self, name: str, *type_hints: Any) -> None:
        self.name = name
        self.type_text = _joined(type_hints)
        self.migrations: dict[str, Migration] = {}
        self._type_hints = type_hints

    def get_name(self) -> str:
        return self.name

    @overload
    def migrate_from(
        self, old_type_hint: TypeInformation[Old] | type[Old], function: Callable[[Old], T]
    ) -> Self: ...
    @overload
    def migrate_from(self, old_type_hint: str | None, function: Callable[[Any], T]) -> Self: ...
    def migrate_from(self, old_type_hint: Any, function: Callable[[Any], T]) -> Self:
        """Says how a job that is restored makes what is stored as ``old_type_hint`` a value of the type now.

        The hint is what was declared then: a class, a ``TypeInformation``, ``None`` where nothing was, or its
        text as an error shows it. ``function`` gets a value, each element of a list, the value of each entry
        of a map, or an accumulator, and returns what is stored in its place. Several older types may be
        named, one call each.

        >>> ValueStateDescriptor("total", float).migrate_from(int, float).type_text
        'float'
        """
        location = user_location()
        if not callable(function):
            raise JobError(
                f"the migration of state {self.name!r} takes a function, not {type(function).__name__}",
                help=".migrate_from(old_type, function): the function gets an old value and returns the new",
                location=location,
            )
        refuse_async(f"the migration of state {self.name!r} was given", function, location)
        for text in self._older_texts(old_type_hint, location):
            self.migrations[text] = Migration(function, location)
        return self

    def _older_texts(self, old_type_hint: Any, location: Location) -> list[str]:
        texts = [text for text in self._texts_of(old_type_hint) if text != self.type_text]
        if not texts or any(text in self.migrations for text in texts):
            old = self._texts_of(old_type_hint)[0] or "an undeclared type"
            why = "is declared as that now" if not texts else "has one from it already"
            raise JobError(
                f"a migration from {old} of state {self.name!r}, which {why}, would never run",
                help="name a type that was declared before, each once",
                location=location,
            )
        return texts

    def _texts_of(self, old_type_hint: Any) -> list[str]:
        """The type texts that a hint may have stood for."""
        return [_type_text(old_type_hint)]


class ValueStateDescriptor(StateDescriptor[T]):
    """Describes a ``ValueState``.

    >>> ValueStateDescriptor("total", int).type_text
    'int'
    """

    kind = "value"

    def __init__(self, name: str, value_type_info: TypeHint[T] = None) -> None:
        super().__init__(name, value_type_info)


class ListStateDescriptor(StateDescriptor[T]):
    """Describes a ``ListState``."""

    kind = "list"

    def __init__(self, name: str, elem_type_info: TypeHint[T] = None) -> None:
        super().__init__(name, elem_type_info)


class MapStateDescriptor(StateDescriptor[V], Generic[K, V]):
    """Describes a ``MapState``.

    ``migrate_from`` names the older type of the entries' values only; their keys stay as they are. Where
    both were undeclared it is ``None``.
    """

    kind = "map"

    def __init__(
        self, name: str, key_type_info: TypeHint[K] = None, value_type_info: TypeHint[V] = None
    ) -> None:
        super().__init__(name, key_type_info, value_type_info)

    def _texts_of(self, old_type_hint: Any) -> list[str]:
        if isinstance(old_type_hint, str):
            return [old_type_hint]
        with_the_key = _joined([self._type_hints[0], old_type_hint])
        return [with_the_key] if old_type_hint is not None else list(dict.fromkeys(["", with_the_key]))


class ReducingStateDescriptor(StateDescriptor[T]):
    """Describes a ``ReducingState`` and the function that combines two elements into one."""

    kind = "reducing"

    def __init__(
        self,
        name: str,
        reduce_function: Callable[[T, T], T] | Reduces[T],
        type_info: TypeHint[T] = None,
    ) -> None:
        super().__init__(name, type_info)
        reduce = getattr(reduce_function, "reduce", reduce_function)
        refuse_async(f"the descriptor of state {name!r} was given", reduce, user_location())
        self.reduce_function = reduce_function


class AggregatingStateDescriptor(StateDescriptor[Acc], Generic[In, Acc, Out]):
    """Describes an ``AggregatingState``; the type is that of the accumulator, which is what is kept."""

    kind = "aggregating"

    def __init__(
        self,
        name: str,
        agg_function: Aggregates[In, Acc, Out],
        state_type_info: TypeHint[Acc] = None,
    ) -> None:
        super().__init__(name, state_type_info)
        for method in ("create_accumulator", "add", "get_result"):
            what = f"{method}() of {type(agg_function).__name__} is"
            refuse_async(what, getattr(agg_function, method, None), user_location())
        self.agg_function = agg_function


def _joined(hints: Iterable[Any]) -> str:
    return ", ".join(map(_type_text, hints)).strip(", ")


def _type_text(hint: Any) -> str:
    if hint is None:
        return ""
    if isinstance(hint, type) and not hasattr(hint, "__origin__"):
        return (
            hint.__qualname__ if hint.__module__ == "builtins" else f"{hint.__module__}:{hint.__qualname__}"
        )
    return str(hint)

"""Classes that values are made of in these tests; at the top of a module, as stored classes must be."""

from __future__ import annotations

import dataclasses
import enum
from collections import namedtuple
from typing import Any, NamedTuple

import msgspec


class Color(enum.Enum):
    RED = "r"
    CRIMSON = "r"  # noqa: PIE796 - an alias
    GREEN = object()  # a value that could not be stored


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class IntAccess(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any = 7


Pair = namedtuple("Pair", "left right")


class Outer:
    @dataclasses.dataclass
    class Inner:
        value: Any


@dataclasses.dataclass
class Plain:
    a: Any
    b: Any = None


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Frozen:
    name: str
    tags: tuple[Any, ...] = ()


@dataclasses.dataclass
class Computed:
    base: int
    double: int = dataclasses.field(init=False)
    started: int = 0

    def __post_init__(self) -> None:
        self.double = self.base * 2
        self.started += 1


@dataclasses.dataclass(kw_only=True)
class Node:
    value: int
    below: Node | None = None


@dataclasses.dataclass
class Empty:
    pass


@dataclasses.dataclass
class DictLike(dict):  # type: ignore[type-arg]
    a: int = 1


class Struct(msgspec.Struct):
    a: Any
    b: Any = None


class FrozenStruct(msgspec.Struct, frozen=True, kw_only=True, tag="f"):
    name: str
    items: list[Any] = []


class CountingStruct(msgspec.Struct):
    count: int

    def __post_init__(self) -> None:
        self.count += 1


class NotStorable:
    pass

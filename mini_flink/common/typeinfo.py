"""Type hints for states and streams, with the names of ``pyflink.common.typeinfo``.

They may be left out everywhere: a value keeps its Python type by itself. What they do here is name the type
of a state, which is compared when a job starts on a folder, and tell a type checker what the state holds.
"""

from __future__ import annotations

import datetime
import decimal
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mini_flink.common.row import Row

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class TypeInformation(Generic[T]):
    """A named type; equal by name."""

    name: str

    def __str__(self) -> str:
        return self.name


class Types:
    """The type hints that a PyFlink job uses.

    >>> str(Types.MAP(Types.STRING(), Types.INT()))
    'MAP<STRING, INT>'
    """

    @staticmethod
    def STRING() -> TypeInformation[str]:
        return TypeInformation("STRING")

    @staticmethod
    def BOOLEAN() -> TypeInformation[bool]:
        return TypeInformation("BOOLEAN")

    @staticmethod
    def BYTE() -> TypeInformation[int]:
        return TypeInformation("BYTE")

    @staticmethod
    def SHORT() -> TypeInformation[int]:
        return TypeInformation("SHORT")

    @staticmethod
    def INT() -> TypeInformation[int]:
        return TypeInformation("INT")

    @staticmethod
    def LONG() -> TypeInformation[int]:
        return TypeInformation("LONG")

    @staticmethod
    def BIG_INT() -> TypeInformation[int]:
        return TypeInformation("BIG_INT")

    @staticmethod
    def FLOAT() -> TypeInformation[float]:
        return TypeInformation("FLOAT")

    @staticmethod
    def DOUBLE() -> TypeInformation[float]:
        return TypeInformation("DOUBLE")

    @staticmethod
    def BIG_DEC() -> TypeInformation[decimal.Decimal]:
        return TypeInformation("BIG_DEC")

    @staticmethod
    def SQL_DATE() -> TypeInformation[datetime.date]:
        return TypeInformation("SQL_DATE")

    @staticmethod
    def SQL_TIME() -> TypeInformation[datetime.time]:
        return TypeInformation("SQL_TIME")

    @staticmethod
    def SQL_TIMESTAMP() -> TypeInformation[datetime.datetime]:
        return TypeInformation("SQL_TIMESTAMP")

    @staticmethod
    def PICKLED_BYTE_ARRAY() -> TypeInformation[Any]:
        """Any value (nothing is pickled here; the name is PyFlink's)."""
        return TypeInformation("PICKLED_BYTE_ARRAY")

    @staticmethod
    def LIST(element_type_info: TypeInformation[T]) -> TypeInformation[list[T]]:
        return TypeInformation(f"LIST<{element_type_info}>")

    @staticmethod
    def MAP(
        key_type_info: TypeInformation[K], value_type_info: TypeInformation[V]
    ) -> TypeInformation[dict[K, V]]:
        return TypeInformation(f"MAP<{key_type_info}, {value_type_info}>")

    @staticmethod
    def TUPLE(field_types: list[TypeInformation[Any]]) -> TypeInformation[tuple[Any, ...]]:
        return TypeInformation(f"TUPLE<{', '.join(map(str, field_types))}>")

    @staticmethod
    def ROW(field_types: list[TypeInformation[Any]]) -> TypeInformation[Row]:
        return TypeInformation(f"ROW<{', '.join(map(str, field_types))}>")

    @staticmethod
    def ROW_NAMED(field_names: list[str], field_types: list[TypeInformation[Any]]) -> TypeInformation[Row]:
        fields = (f"{name}: {type_info}" for name, type_info in zip(field_names, field_types, strict=True))
        return TypeInformation(f"ROW<{', '.join(fields)}>")

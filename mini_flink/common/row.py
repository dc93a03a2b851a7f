"""A row of fields, by position or by name, as ``pyflink.common.Row``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Row:
    """Fields by position, or by name in the order given.

    >>> row = Row(name="Ann", age=11)
    >>> row["name"], row.age, row[1], row
    ('Ann', 11, 11, Row(name='Ann', age=11))
    >>> Row("Ann", 11) == Row("Ann", 11)
    True
    >>> Person = Row("name", "age")
    >>> Person("Ann", 11)
    Row(name='Ann', age=11)
    """

    __slots__ = ("_fields", "_values")

    _fields: list[str] | None
    _values: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("a Row has either positional or named fields, not both")
        object.__setattr__(self, "_fields", list(kwargs) if kwargs else None)
        object.__setattr__(self, "_values", list(kwargs.values()) if kwargs else list(args))

    def as_dict(self, recursive: bool = False) -> dict[str, Any]:
        """Names and values; with ``recursive`` also of the rows inside, in lists and dicts too."""
        if self._fields is None:
            raise TypeError("a Row without names cannot become a dict")
        values = (_plain(value) for value in self._values) if recursive else self._values
        return dict(zip(self._fields, values, strict=True))

    def set_field_names(self, field_names: list[str]) -> None:
        """Names the fields, in place."""
        if len(field_names) != len(self._values):
            raise ValueError(f"{len(field_names)} names for {len(self._values)} fields")
        object.__setattr__(self, "_fields", list(field_names))

    def get_field_names(self) -> list[str] | None:
        return None if self._fields is None else list(self._fields)

    def __call__(self, *args: Any) -> Row:
        """A row whose names are the values of this one."""
        if len(args) != len(self._values):
            raise ValueError(f"{len(args)} values for the {len(self._values)} fields {self._values}")
        row = Row(*args)
        row.set_field_names(self._values)
        return row

    def __getitem__(self, item: int | slice | str) -> Any:
        return self._values[self._position(item) if isinstance(item, str) else item]

    def __setitem__(self, key: int | str, value: Any) -> None:
        self._values[self._position(key) if isinstance(key, str) else key] = value

    def __getattr__(self, item: str) -> Any:
        if item.startswith("__"):
            raise AttributeError(item)
        try:
            return self._values[self._position(item)]
        except KeyError:
            raise AttributeError(item) from None

    def __setattr__(self, key: str, value: Any) -> None:
        try:
            self._values[self._position(key)] = value
        except KeyError:
            raise AttributeError(key) from None

    def _position(self, name: str) -> int:
        if self._fields is None or name not in self._fields:
            raise KeyError(name)
        return self._fields.index(name)

    def __contains__(self, item: object) -> bool:
        return item in (self._values if self._fields is None else self._fields)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        return self._fields == other._fields and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._fields, self._values)

    def __repr__(self) -> str:
        if self._fields is None:
            return f"Row({', '.join(map(repr, self._values))})"
        pairs = zip(self._fields, self._values, strict=True)
        return f"Row({', '.join(f'{name}={value!r}' for name, value in pairs)})"


def _restore(fields: list[str] | None, values: list[Any]) -> Row:
    row = Row(*values)
    if fields is not None:
        row.set_field_names(fields)
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, Row):
        return value.as_dict(recursive=True)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value

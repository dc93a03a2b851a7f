"""How objects of the job's own classes are taken apart into plain values and put together again.

Owns: the stored name of a class (``module:qualname``), the search for it among the modules that are
already imported, and per kind of class (Enum, dataclass, msgspec Struct, NamedTuple, Row) which fields
it has. It never imports a module for a name that it reads, and never runs ``__init__`` (but for a
Struct's ``__post_init__``, which cannot be avoided). It knows nothing of bytes: ``values`` packs what it
returns. Called by ``values`` only.

Only fields are kept: an attribute that is none (a cached property, say) is computed anew or missing.
"""

from __future__ import annotations

import dataclasses
import enum
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from mini_flink.errors import DecodeError, EncodeError


class _Codec(Protocol):
    """One class: how its objects become plain content and back."""

    reference: str

    def take_apart(self, value: Any) -> Any: ...

    def put_together(self, content: Any) -> Any: ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plain:
    """What is stored of an object, for whoever only looks: its class is not needed, and no code of it runs.

    ``content`` holds the fields by name, a member's name, or what else the class is stored as.
    """

    reference: str
    content: Any

    @property
    def name(self) -> str:
        """The class without its module."""
        return str(self.reference).rpartition(":")[2]

    def __repr__(self) -> str:
        content = self.content
        if type(content) is dict:
            return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in content.items())})"
        if type(content) is str:
            return f"{self.name}.{content}"
        return f"{self.name}({content!r})"


def take_apart(value: object) -> tuple[str, Any]:
    """The stored name of the class of ``value`` and its content: fields by name, or the member's name.

    Raises EncodeError for a class that is of no supported kind or could not be found again.
    """
    codec = _codecs.get(type(value))
    if codec is None:
        codec = _codecs[type(value)] = _codec_to_write(type(value))
    return codec.reference, codec.take_apart(value)


def put_together(reference: object, content: object) -> Any:
    """The object whose class is named by ``reference``; raises DecodeError if it cannot be that."""
    cls = resolve(reference)
    codec = _codecs.get(cls)
    if codec is None:
        codec = _codec_of(cls)
        if codec is None:
            raise DecodeError(
                f"{reference} is no dataclass, Enum, NamedTuple, msgspec Struct or Row",
                help="a stored value names it; its class must stay of one of these kinds",
            )
        _codecs[cls] = codec
    return codec.put_together(content)


def resolve(reference: object) -> type:
    """The class named ``module:qualname`` among the modules already imported; nothing is ever imported."""
    if not isinstance(reference, str) or reference.count(":") != 1:
        raise DecodeError("a stored value holds a malformed class name")
    module_name, qualname = reference.split(":")
    found: Any = sys.modules.get(module_name)
    if found is None:
        raise DecodeError(
            f"a stored value is a {qualname} of module {module_name}, which this job has not imported",
            help=f"import {module_name} at the top of the job",
        )
    for name in qualname.split("."):
        # vars(), not getattr(): a module's __getattr__ may import, a class's may compute.
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    if not isinstance(found, type):
        raise DecodeError(
            f"a stored value is a {qualname} of module {module_name}, which has no such class",
            help="keep the class under its old name, or leave an alias there",
        )
    return found


def type_name(cls: type) -> str:
    """The name of a type as a message shows it: without ``builtins``."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def is_row(value: object) -> bool:
    """Whether ``value`` is a ``Row``; told by name, because the room of Row is above this one."""
    return _is_row_class(type(value))


def _is_row_class(cls: type) -> bool:
    return cls.__qualname__ == "Row" and cls.__module__ == "mini_flink.common.row"


def children(value: object) -> list[tuple[str, Any]]:
    """The fields of an object of a supported class with the text that reaches them; empty for others."""
    codec = _codecs.get(type(value))
    if isinstance(codec, _Fields):
        return [(f".{name}", getattr(value, name, None)) for name in codec.names]
    return []


def _codec_to_write(cls: type) -> _Codec:
    codec = _codec_of(cls)
    if codec is None:
        raise EncodeError(
            f"a value of type {type_name(cls)} can neither be sent to another worker nor be stored",
            help="use plain Python values, or a dataclass, NamedTuple, Enum or msgspec Struct of your own",
        )
    if "<locals>" in cls.__qualname__:
        raise EncodeError(
            f"the class {type_name(cls)} stands inside a function, so a stored value could not find it again",
            help="move the class to the top level of its module",
        )
    try:
        found: type | None = resolve(codec.reference)
    except DecodeError:
        found = None
    if found is not cls:
        raise EncodeError(
            f"the class {type_name(cls)} is not found under its own name: its values could not be read back",
            help=f"make {cls.__qualname__} a name of module {cls.__module__} that stands for this class",
        )
    return codec


def _codec_of(cls: type) -> _Codec | None:
    """The first kind that fits; an Enum may be a dataclass as well, so the order matters."""
    if issubclass(cls, enum.Enum):
        return _Flags(cls) if issubclass(cls, enum.Flag) else _Members(cls)
    if issubclass(cls, msgspec.Struct):
        return _struct_codec(cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass_codec(cls)
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return _named_tuple_codec(cls)
    if _is_row_class(cls):
        return _Rows(cls)
    return None


def _reference(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


class _Members:
    """An Enum by the names of its members, so that their values may change."""

    def __init__(self, cls: type[enum.Enum]) -> None:
        self.reference = _reference(cls)
        self._members: Mapping[str, enum.Enum] = cls.__members__

    def take_apart(self, value: enum.Enum) -> str:
        if self._members.get(value.name) is not value:
            raise EncodeError(f"{value!r} is no member of {self.reference} and could not be found again")
        return value.name

    def put_together(self, content: object) -> enum.Enum:
        member = self._members.get(content) if isinstance(content, str) else None
        if member is None:
            raise DecodeError(
                f"a stored value is member {content!r} of {self.reference}, which has none of that name"
            )
        return member


class _Flags:
    """A Flag by its number: combinations have no name."""

    def __init__(self, cls: type[enum.Flag]) -> None:
        self.reference = _reference(cls)
        self._cls = cls

    def take_apart(self, value: enum.Flag) -> Any:
        return value.value

    def put_together(self, content: object) -> enum.Flag:
        if type(content) is not int:
            raise DecodeError(f"a stored value of {self.reference} is not a number")
        try:
            return self._cls(content)
        except ValueError as error:
            raise DecodeError(
                f"a stored value is {content} of {self.reference}, which has no such flag"
            ) from error


class _Rows:
    """``Row`` of ``mini_flink.common``: its field names if it has any, and its values."""

    def __init__(self, cls: Any) -> None:
        self.reference = _reference(cls)
        self._cls = cls

    def take_apart(self, value: Any) -> list[Any]:
        return [value.get_field_names(), list(value)]

    def put_together(self, content: Any) -> Any:
        try:
            names, values = content
            row = self._cls(*values)
            if names is not None:
                row.set_field_names(names)
        except (TypeError, ValueError) as error:
            raise DecodeError(f"a stored Row is malformed: {error}") from error
        return row


class _Fields:
    """A class with named fields; ``build`` makes an object of the values in the order of ``names``."""

    def __init__(
        self,
        cls: type,
        names: tuple[str, ...],
        defaults: dict[str, Callable[[], Any]],
        build: Callable[[list[Any]], Any],
    ) -> None:
        self.reference = _reference(cls)
        self.names = names
        self._defaults = defaults
        self._build = build
        self._read: Callable[[Any], tuple[Any, ...]] = _reader(names)

    def take_apart(self, value: Any) -> dict[str, Any]:
        try:
            return dict(zip(self.names, self._read(value), strict=True))
        except AttributeError as error:
            raise EncodeError(f"a field of a {self.reference} has no value: {error}") from error

    def put_together(self, content: object) -> Any:
        if type(content) is not dict:
            raise DecodeError(f"a stored value of {self.reference} has no fields")
        # The usual case, same fields in the same order, in one comparison.
        if tuple(content) == self.names:
            return self._build(list(content.values()))
        return self._build(self._adapt(content))

    def _adapt(self, content: dict[str, Any]) -> list[Any]:
        """The values of a record that an older or newer version of the class wrote."""
        unknown = [str(name) for name in content if name not in self.names]
        if unknown:
            raise DecodeError(
                f"a stored {self.reference} has the field {unknown[0]!r}, which the class has no more",
                help="keep the field until no stored value has it",
            )
        return [content[name] if name in content else self._default(name) for name in self.names]

    def _default(self, name: str) -> Any:
        make = self._defaults.get(name)
        if make is None:
            raise DecodeError(
                f"a stored {self.reference} has no field {name!r}",
                help="give the new field a default: it is taken for values stored before",
            )
        return make()


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """``operator.attrgetter`` that returns a tuple also for one name and for none."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        (name,) = names
        return lambda value: (getattr(value, name),)
    return operator.attrgetter(*names)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _dataclass_codec(cls: type) -> _Fields | None:
    try:
        object.__new__(cls)
    except TypeError:  # it derives from dict, list, Exception…, whose content is no field
        return None
    fields = dataclasses.fields(cls)
    names = tuple(field.name for field in fields)
    defaults: dict[str, Callable[[], Any]] = {}
    for field in fields:
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = _constant(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory

    def build(values: list[Any]) -> Any:
        made: Any = object.__new__(cls)
        for name, value in zip(names, values, strict=True):
            object.__setattr__(made, name, value)
        return made

    return _Fields(cls, names, defaults, build)


def _struct_codec(cls: type[msgspec.Struct]) -> _Fields:
    names = cls.__struct_fields__
    defaults: dict[str, Callable[[], Any]] = {}
    for field in msgspec.structs.fields(cls):
        if field.default is not msgspec.NODEFAULT:
            defaults[field.name] = _constant(field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            defaults[field.name] = field.default_factory
    again = hasattr(cls, "__post_init__")

    def build(values: list[Any]) -> Any:
        made: Any = cls(**dict(zip(names, values, strict=True)))
        if again:  # a Struct cannot be made without __post_init__: what it changed is put back
            for name, value in zip(names, values, strict=True):
                msgspec.structs.force_setattr(made, name, value)
        return made

    return _Fields(cls, names, defaults, build)


def _named_tuple_codec(cls: type) -> _Fields:
    stored: dict[str, Any] = getattr(cls, "_field_defaults", {})
    defaults = {name: _constant(value) for name, value in stored.items()}

    def build(values: list[Any]) -> Any:
        made: Any = tuple.__new__(cls, values)
        return made

    return _Fields(cls, cls._fields, defaults, build)  # type: ignore[attr-defined]


_codecs: dict[type, _Codec] = {}

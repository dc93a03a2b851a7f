"""Between what a program has of a state, keys with their values, and the items that are stored.

The two sides are each other's inverse, kind by kind, and store what ``operators.state`` does: a value,
reduction or accumulator is one item; a list the encodings of its elements, one after another; a map one item
per entry, with the encoded map key behind the key. Called by ``reader`` and ``writer``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mini_flink.errors import DecodeError, EncodeError, KeyTypeError
from mini_flink.keys import decode_key, key_encoder, key_group
from mini_flink.state import layout
from mini_flink.state.layout import STATE_PREFIX_BYTES
from mini_flink.state_processor.sorting import Item
from mini_flink.values import decode, decode_many, encoder
from mini_flink.wire import MAX_MESSAGE_BYTES

VALUE, LIST, MAP = "value", "list", "map"


class StateEncoder:
    """Makes the stored items of one state; ``title`` names it in errors.

    ``keys`` counts the keys that were taken. An item without a value is there so that its key, coming
    again, is found.
    """

    def __init__(self, title: str, kind: str, operator: int, index: int, max_parallelism: int) -> None:
        self.keys = 0
        self._title = title
        self._kind = kind
        self._max_parallelism = max_parallelism
        self._prefixes = [layout.state_prefix(group, operator, index) for group in range(max_parallelism)]
        self._encode_key = key_encoder()
        self._encode = encoder()

    def items(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Item]:
        """The items of all ``pairs`` of key and value; what cannot be stored is refused, naming its key."""
        prefixes, max_parallelism, encode_key = self._prefixes, self._max_parallelism, self._encode_key
        to_items = self._items_of()
        for number, pair in enumerate(pairs, 1):
            try:
                key, value = pair
            except (TypeError, ValueError) as error:
                raise self._no_pair(number, pair) from error
            try:
                encoded = encode_key(key)
                items = to_items(prefixes[key_group(encoded, max_parallelism)] + encoded, value)
            except (EncodeError, KeyTypeError) as error:
                message = f"{self._title}, key {key!r:.100}: {error.message}"
                raise type(error)(message, help=error.help) from error
            self.keys = number
            yield from items

    def _items_of(self) -> Callable[[bytes, Any], Iterable[Item]]:
        """What makes items of the place of a key and its value."""
        by_kind = {VALUE: self._value, LIST: self._list, MAP: self._map}
        return by_kind.get(self._kind, self._one)

    def _value(self, place: bytes, value: Any) -> Iterable[Item]:
        return ((place, None),) if value is None else self._one(place, value)

    def _one(self, place: bytes, value: Any) -> Iterable[Item]:
        return ((place, _checked(self._encode(value))),)

    def _list(self, place: bytes, value: Any) -> Iterable[Item]:
        if not isinstance(value, list | tuple):
            raise _refusal(value, "a list of its elements")
        data = b"".join(map(self._encode, value))
        return ((place, _checked(data) if data else None),)

    def _map(self, place: bytes, value: Any) -> Iterable[Item]:
        if not isinstance(value, Mapping):
            raise _refusal(value, "a dict of its entries")
        encode_key, encode = self._encode_key, self._encode
        entries = [(place + encode_key(key), _checked(encode(each))) for key, each in value.items()]
        return [(place, None), *entries]

    def _no_pair(self, number: int, pair: Any) -> EncodeError:
        return EncodeError(
            f"{self._title}: item {number} is no pair of key and value: {pair!r:.100}",
            help="give an iterable of (key, value), as the items() of a dict",
        )


class StateDecoder:
    """Makes keys and values of the stored items of one state; ``title`` names it in errors."""

    def __init__(self, title: str, kind: str) -> None:
        self._title = title
        self._kind = kind

    def pairs(self, items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[Any, Any]]:
        """Key and value, one key at a time. DecodeError that names the key of what cannot be read."""
        if self._kind == MAP:
            return self._maps(items)
        return self._singles(items, decode_many if self._kind == LIST else decode)

    def _singles(
        self, items: Iterable[tuple[bytes, bytes]], read: Callable[[bytes], Any]
    ) -> Iterator[tuple[Any, Any]]:
        for place, data in items:
            try:
                pair = decode_key(place[STATE_PREFIX_BYTES:]), read(data)
            except DecodeError as error:
                raise self._unreadable(place, error) from error
            yield pair

    def _maps(self, items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[Any, Any]]:
        place, entries = b"", dict[Any, Any]()
        for entry, data in items:
            # No key's bytes begin another's: what begins with this key is an entry of its map.
            if not place or not entry.startswith(place):
                if place:
                    yield self._key(place), entries
                place, entries = layout.entry_prefix(entry) or entry, {}
            try:
                entries[decode_key(entry[len(place) :])] = decode(data)
            except DecodeError as error:
                raise self._unreadable(place, error) from error
        if place:
            yield self._key(place), entries

    def _key(self, place: bytes) -> Any:
        try:
            return decode_key(place[STATE_PREFIX_BYTES:])
        except DecodeError as error:
            raise self._unreadable(place, error) from error

    def _unreadable(self, place: bytes, error: DecodeError) -> DecodeError:
        try:
            key = repr(decode_key(place[STATE_PREFIX_BYTES:]))
        except DecodeError:
            key = place[STATE_PREFIX_BYTES:].hex()
        return DecodeError(f"{self._title}, key {key:.100}: {error.message}", help=help_to_read(error))


def help_to_read(error: DecodeError) -> str:
    """What to do in a program that is not the job where a class is not found."""
    if not error.help:
        return ""
    return (
        f"{error.help} (classes are looked for among the modules that this program has imported; those of "
        "the job's own file among the names of this program's)"
    )


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_MESSAGE_BYTES:
        raise EncodeError(f"a value of {len(data)} bytes is larger than the {MAX_MESSAGE_BYTES} that fit")
    return data


def _refusal(value: Any, wanted: str) -> EncodeError:
    return EncodeError(f"its value is given as {wanted}, not as {type(value).__name__}")

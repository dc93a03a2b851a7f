"""How much a table holds of each state, and of dead letters: counted as it is written, exact to the byte.

A table keeps its ``Sizes`` in the transaction that they are true for, so they survive what it survives. Owns
the encoding; never reads a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from mini_flink.state import layout

_GROUP = slice(3, 6)
"""Where operator and state stand in the key of a state."""


class Size(NamedTuple):
    """Items, and the bytes of their keys and values as they are stored."""

    items: int
    bytes: int


class Sizes(NamedTuple):
    """What a table holds: of each (operator, state), and of dead letters."""

    states: Mapping[tuple[int, int], Size]
    dead_letters: Size


Counts = dict[bytes, list[int]]
"""Items and bytes by operator and state, as they stand in a key, or by the letter of dead letters."""


def group_of(key: bytes) -> bytes | None:
    """For what an item counts; None: it is not counted."""
    first = key[:1]
    if first == layout.STATE:
        return key[_GROUP]
    return first if first == layout.DEAD_LETTER else None


def added(known: Counts, grown: Counts) -> Counts:
    """Both together; ``known`` stays as it is."""
    total = {group: list(counts) for group, counts in known.items()}
    for group, (items, size) in grown.items():
        counts = total.setdefault(group, [0, 0])
        counts[0] += items
        counts[1] += size
    return {group: counts for group, counts in total.items() if counts[0]}


def note(counts: Counts, group: bytes, items: int, size: int) -> None:
    """So many more of it."""
    found = counts.get(group)
    if found is None:
        counts[group] = [items, size]
    else:
        found[0] += items
        found[1] += size


def pack(counts: Counts, commit_number: int) -> bytes:
    """As it is stored; ``commit_number`` is that of the transaction."""
    return json.dumps([commit_number, {group.hex(): found for group, found in counts.items()}]).encode()


def unpack(packed: bytes | None, commit_number: int) -> Counts | None:
    """What was stored with this commit; None if a program that does not count has written since, or ever."""
    if packed is None:
        return None
    number, counts = json.loads(packed)
    if number != commit_number:
        return None
    return {bytes.fromhex(group): list(found) for group, found in counts.items()}


def named(counts: Counts) -> Sizes:
    """For those who look."""
    states = {
        (int.from_bytes(group[:2], "big"), group[2]): Size(*found)
        for group, found in counts.items()
        if group != layout.DEAD_LETTER
    }
    return Sizes(states, Size(*counts.get(layout.DEAD_LETTER, (0, 0))))

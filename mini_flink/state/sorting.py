"""Sorting beside a loop: in short steps, so that whoever waits for the interpreter's lock gets it soon.

For threads that work on what a loop has frozen: the table's writer and the copy of a snapshot.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import TypeVar

SLICE_ITEMS = 256
_PART_ITEMS = 1024
_SAMPLE_STEP = 64

Value = TypeVar("Value")


def sorted_slices(items: Iterable[tuple[bytes, Value]]) -> Iterator[list[tuple[bytes, Value]]]:
    """``items`` by ascending key, in short lists.

    One ``sorted`` over 100,000 items would hold the interpreter's lock for 50 ms, letting go of them all at
    once for 15 ms. So they are dealt into parts between sampled keys, with a chance for other threads after
    every step, and each part is dropped before the next.
    """
    parts = _dealt(items)
    parts.reverse()
    while parts:
        part = parts.pop()
        part.sort(key=itemgetter(0))
        for start in range(0, len(part), SLICE_ITEMS):
            yield part[start : start + SLICE_ITEMS]


def _dealt(items: Iterable[tuple[bytes, Value]]) -> list[list[tuple[bytes, Value]]]:
    """All items in parts of about a thousand, each part below the next."""
    source = iter(items)
    steps: list[list[tuple[bytes, Value]]] = []
    while step := list(islice(source, _PART_ITEMS)):
        steps.append(step)
        time.sleep(0)
    sample = sorted(key for step in steps for key, _ in step[::_SAMPLE_STEP])
    splitters = sample[_PART_ITEMS // _SAMPLE_STEP :: _PART_ITEMS // _SAMPLE_STEP]
    parts: list[list[tuple[bytes, Value]]] = [[] for _ in range(len(splitters) + 1)]
    for step in steps:
        for item in step:
            parts[bisect_right(splitters, item[0])].append(item)
        time.sleep(0)
    return parts

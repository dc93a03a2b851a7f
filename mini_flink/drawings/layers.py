"""Where the steps of a graph lie: in layers from left to right, so that few arrows cross.

A step's layer is the longest way to it. An arrow over several layers passes a place of its own in each, so
that it runs through no step. Within a layer the order is that of the mean place of the neighbours, swept to
and fro a few times; of what was seen the order with the fewest crossings is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 8


class Layout(NamedTuple):
    """The layers, each with its places in order, and for each arrow the places that it passes.

    Places below the number of steps are those steps; the others are passed by one arrow.
    """

    layers: list[list[int]]
    ways: list[list[int]]


def layout(count: int, arrows: Sequence[tuple[int, int]]) -> Layout:
    """Place ``count`` steps; each arrow must lead to a step with a higher number."""
    rank = [0] * count
    for source, target in sorted(arrows):
        rank[target] = max(rank[target], rank[source] + 1)
    layers: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for step in range(count):
        layers[rank[step]].append(step)
    ways = []
    for source, target in arrows:
        passed = list(range(count, count + rank[target] - rank[source] - 1))
        count += len(passed)
        for layer, place in enumerate(passed, start=rank[source] + 1):
            layers[layer].append(place)
        ways.append([source, *passed, target])
    return Layout(_ordered(layers, [pair for way in ways for pair in pairwise(way)]), ways)


def _ordered(layers: list[list[int]], lines: list[tuple[int, int]]) -> list[list[int]]:
    best, fewest = layers, crossings(layers, lines)
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        for index in range(1, len(layers)) if forth else range(len(layers) - 2, -1, -1):
            near = {place: number for number, place in enumerate(layers[index - 1 if forth else index + 1])}
            ends = [(target, source) if forth else (source, target) for source, target in lines]
            means = _means(layers[index], near, ends)
            layers[index].sort(key=means.__getitem__)
        if (found := crossings(layers, lines)) < fewest:
            best, fewest = layers, found
    return best


def _means(layer: list[int], near: dict[int, int], ends: list[tuple[int, int]]) -> dict[int, float]:
    """The mean place of each one's neighbours; who has none stays where it is."""
    means = {}
    for number, place in enumerate(layer):
        places = [near[other] for one, other in ends if one == place and other in near]
        means[place] = sum(places) / len(places) if places else float(number)
    return means


def crossings(layers: list[list[int]], lines: list[tuple[int, int]]) -> int:
    """How often two lines between neighbouring layers cross."""
    at = {place: (index, number) for index, layer in enumerate(layers) for number, place in enumerate(layer)}
    spans = [(*at[source], at[target][1]) for source, target in lines]
    return sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for index, one in enumerate(spans)
        for other in spans[:index]
    )

"""Where steps lie: arrows lead to the right, and cross no more than they must."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mini_flink.drawings.layers import crossings, layout


def test_nothing_and_one() -> None:
    assert layout(0, []) == ([], [])
    assert layout(1, []) == ([[0]], [])


def test_the_longest_way_says_the_layer_and_a_long_arrow_has_places_of_its_own() -> None:
    assert layout(3, [(0, 1), (1, 2), (0, 2)]) == ([[0], [1, 3], [2]], [[0, 1], [1, 2], [0, 3, 2]])


def test_what_need_not_cross_does_not() -> None:
    arrows = [(0, 4), (1, 3), (3, 6), (4, 5), (2, 7)]
    layers, ways = layout(8, arrows)
    assert crossings(layers, [pair for way in ways for pair in pairwise(way)]) == 0


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(2, 9))
    place = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(place, place), unique=True, max_size=16))
    return count, [pair for pair in pairs if pair[0] < pair[1]]


@given(graphs())
def test_every_step_has_a_place_and_every_arrow_goes_a_layer_at_a_time(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    count, arrows = graph
    layers, ways = layout(count, arrows)
    at = {place: index for index, layer in enumerate(layers) for place in layer}
    assert sorted(at) == list(range(sum(map(len, layers))))
    assert [(way[0], way[-1]) for way in ways] == arrows
    for way in ways:
        assert [at[other] - at[one] for one, other in pairwise(way)] == [1] * (len(way) - 1)
        assert all(place >= count for place in way[1:-1])

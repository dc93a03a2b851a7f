"""All shares back, and only then, is done: whatever the fan-out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mini_flink.core.shares import WHOLE, Outstanding, Returns, split

INT64 = 1 << 63


@given(st.integers(1, WHOLE), st.integers(0, 5), st.integers(1, 1 << 20))
def test_a_split_keeps_the_whole(amount: int, level: int, parts: int) -> None:
    each, last, finer = split(amount, level, parts)
    assert each > 0
    assert last >= each
    assert finer >= level
    assert each * (parts - 1) + last == amount << 32 * (finer - level)
    assert last < INT64


@given(st.lists(st.integers(1, 1000), max_size=12), st.randoms(use_true_random=False))
def test_done_at_the_last_share_in_any_order(fan_outs: list[int], rng: object) -> None:
    """A skewed tree: at each level one share goes on and the others end."""
    shares: list[tuple[int, int]] = []
    going = (WHOLE, 0)
    for parts in fan_outs:
        each, last, level = split(*going, parts)
        shares += [(each, level)] * (parts - 1)
        going = (last, level)
    shares.append(going)
    rng.shuffle(shares)  # type: ignore[attr-defined]
    outstanding = Outstanding()
    done = [outstanding.give_back(amount, level) for amount, level in shares]
    assert done == [False] * (len(shares) - 1) + [True]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, WHOLE), st.integers(0, 2)), max_size=40))
def test_returns_are_summed_within_64_bits(items: list[tuple[int, int, int]]) -> None:
    returns = Returns()
    for item in items:
        returns.add(*item)
    entries = returns.entries()
    assert all(0 < amount < INT64 for _, amount, _ in entries)

    def totals(rows: list[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
        sums: dict[tuple[int, int], int] = {}
        for request, amount, level in rows:
            sums[request, level] = sums.get((request, level), 0) + amount
        return sums

    assert totals(entries) == totals(items)

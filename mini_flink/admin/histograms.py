"""Histograms as counts by upper bound: differences, sums, percentiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Buckets = Sequence[tuple[float, int]]


def difference(now: Buckets, before: Buckets | None) -> list[tuple[float, int]]:
    """What came in between; all of ``now`` if it began anew, which shows in any count that is lower."""
    counts = dict(before or ())
    if any(counts.get(bound, 0) > count for bound, count in now):
        counts = {}
    return [(bound, count - counts.get(bound, 0)) for bound, count in now]


def merge(several: Iterable[Buckets]) -> list[tuple[float, int]]:
    """All of them as one, ordered by bound."""
    total: dict[float, int] = {}
    for one in several:
        for bound, count in one:
            total[bound] = total.get(bound, 0) + count
    return sorted(total.items())


def percentile(buckets: Buckets, share: float) -> float | None:
    """The value below which ``share`` of all lies, within a bucket by proportion; None if there is nothing.

    >>> percentile([(1.0, 1), (2.0, 1)], 0.5)
    1.0
    """
    total = sum(count for _, count in buckets)
    if not total:
        return None
    wanted, seen, lower = share * total, 0, 0.0
    for bound, count in buckets:
        if count and seen + count >= wanted:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * max(0.0, wanted - seen) / count
        seen += count
        lower = bound if not math.isinf(bound) else lower
    return lower

"""How fast a disk fills: a straight line through the last minutes. Pure: time is an argument."""

from __future__ import annotations

from collections import deque

WINDOW_S = 300.0
SHORTEST_S = 60.0
FARTHEST_S = 7 * 86_400


class Filling:
    """The share of a disk that is used, over time."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, used: float | None) -> None:
        """One more look; None: it is not known."""
        if used is not None:
            self._points.append((at_s, used))
        while self._points and self._points[0][0] < at_s - WINDOW_S:
            self._points.popleft()

    def full_in_s(self) -> int | None:
        """When it is full if it goes on like this; None: it does not grow, or not so that it matters.

        >>> filling = Filling()
        >>> for second in range(61):
        ...     filling.add(float(second), 0.5 + second / 1000)
        >>> filling.full_in_s()
        440
        """
        points = self._points
        if len(points) < 3 or points[-1][0] - points[0][0] < SHORTEST_S:
            return None
        mean_s = sum(at_s for at_s, _ in points) / len(points)
        mean = sum(used for _, used in points) / len(points)
        spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
        slope = sum((at_s - mean_s) * (used - mean) for at_s, used in points) / spread
        if slope <= 0 or points[-1][1] <= points[0][1]:
            return None
        left_s = max(0.0, 1.0 - points[-1][1]) / slope
        return round(left_s) if left_s <= FARTHEST_S else None

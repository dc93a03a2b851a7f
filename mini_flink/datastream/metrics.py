"""What user functions count and measure, with the names of PyFlink's ``pyflink.metrics``.

Only interfaces: implemented in ``operators.metrics``. A server publishes them; elsewhere they only count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Counter(ABC):
    """A number that is raised, and may be lowered."""

    @abstractmethod
    def inc(self, n: int = 1) -> None:
        """Raise it."""

    @abstractmethod
    def dec(self, n: int = 1) -> None:
        """Lower it. To Prometheus a counter that falls has begun anew: ``rate`` counts what is left as
        new. For what rises and falls take a gauge.
        """

    @abstractmethod
    def get_count(self) -> int:
        """How it stands in this subtask since its worker was started."""


class Meter(ABC):
    """How often something happens; published as the number of events."""

    @abstractmethod
    def mark_event(self, value: int = 1) -> None:
        """It has happened, so many times; ValueError if that is below 0."""

    @abstractmethod
    def get_rate(self) -> float:
        """Events per second over the meter's time span."""

    @abstractmethod
    def get_count(self) -> int:
        """All events of this subtask since its worker was started."""


class Distribution(ABC):
    """How whole numbers are spread."""

    @abstractmethod
    def update(self, value: int) -> None:
        """A value was seen."""


class MetricGroup(ABC):
    """Metrics of one operator in one subtask; they are made in ``open``.

    Names are letters, digits and ``_``, and begin with no digit. A metric ``seen`` is published as
    ``mini_flink_user_seen``, with the operator's uid and the subtask as labels.
    """

    @abstractmethod
    def counter(self, name: str) -> Counter:
        """The counter of this name."""

    @abstractmethod
    def gauge(self, name: str, obj: Callable[[], float]) -> None:
        """What ``obj`` returns, asked a few times a second between records: it must be quick."""

    @abstractmethod
    def meter(self, name: str, time_span_in_seconds: int = 60) -> Meter:
        """The meter of this name."""

    @abstractmethod
    def distribution(self, name: str) -> Distribution:
        """The distribution of this name."""

    @abstractmethod
    def add_group(self, name: str, extra: str | None = None) -> MetricGroup:
        """A group in this one: its metrics carry the label ``name="extra"``, or ``name_`` before theirs."""

"""Users' metrics of one operator in one subtask, kept in the registry of their process."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

from mini_flink import metrics
from mini_flink.datastream.metrics import Counter, Distribution, Meter, MetricGroup
from mini_flink.errors import JobError, is_interrupt
from mini_flink.failures import summary
from mini_flink.graph import Node
from mini_flink.operators.failure import USER_ERRORS

PREFIX = "mini_flink_user_"
OWN_LABELS = ("operator", "subtask", "process", "le")
"""Labels that say where a metric comes from, which no group may have."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_log = logging.getLogger("mini_flink")
_T = TypeVar("_T")


class UserCounter(Counter):
    """A counter, published by its metric."""

    def __init__(self, metric: metrics.Counter) -> None:
        self._metric = metric

    def inc(self, n: int = 1) -> None:
        self._metric.value += n

    def dec(self, n: int = 1) -> None:
        self._metric.value -= n

    def get_count(self) -> int:
        return int(self._metric.value)


class UserMeter(Meter):
    """Events, with those of each second of the time span kept apart."""

    def __init__(self, metric: metrics.Counter, time_span_s: int) -> None:
        self._metric = metric
        self._time_span_s = time_span_s
        self._seconds: deque[tuple[int, int]] = deque(maxlen=time_span_s)

    def mark_event(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"mark_event({value}): what has happened cannot be undone; take a gauge")
        self._metric.value += value
        second, seconds = int(time.monotonic()), self._seconds
        if seconds and seconds[-1][0] == second:
            seconds[-1] = second, seconds[-1][1] + value
        else:
            seconds.append((second, value))

    def get_rate(self) -> float:
        since = time.monotonic() - self._time_span_s
        return sum(events for second, events in self._seconds if second > since) / self._time_span_s

    def get_count(self) -> int:
        return int(self._metric.value)


class UserDistribution(Distribution):
    """A distribution, published as a histogram."""

    def __init__(self, metric: metrics.Histogram) -> None:
        self._metric = metric

    def update(self, value: int) -> None:
        self._metric.observe(int(value))


class OperatorMetrics(MetricGroup):
    """The group of an operator in a subtask, or one in it. ``opening`` says whether ``open`` runs."""

    def __init__(
        self,
        registry: metrics.Registry,
        node: Node,
        labels: Mapping[str, str],
        opening: Callable[[], bool],
        prefix: str = PREFIX,
    ) -> None:
        self._registry = registry
        self._node = node
        self._labels = dict(labels)
        self._opening = opening
        self._prefix = prefix

    def counter(self, name: str) -> Counter:
        return UserCounter(self._made("counter", name, self._registry.counter))

    def gauge(self, name: str, obj: Callable[[], float]) -> None:
        if not callable(obj):
            raise self._error(
                f"gives the gauge {name!r} no function to ask", "write metrics.gauge(name, lambda: …)"
            )
        self._made("gauge", name, self._registry.gauge).read = _Asked(
            name, obj, self._registry, f"the gauge {name!r} of operator {self._labels.get('operator', '')!r}"
        )

    def meter(self, name: str, time_span_in_seconds: int = 60) -> Meter:
        if time_span_in_seconds < 1:
            raise self._error(
                f"gives the meter {name!r} a time span of {time_span_in_seconds} s", "1 s is the least"
            )
        return UserMeter(self._made("meter", name, self._registry.counter), time_span_in_seconds)

    def distribution(self, name: str) -> Distribution:
        def make(full: str, labels: Mapping[str, str], text: str) -> metrics.Histogram:
            return self._registry.histogram(full, labels, text, unit=metrics.ONE)

        return UserDistribution(self._made("distribution", name, make))

    def add_group(self, name: str, extra: str | None = None) -> MetricGroup:
        self._check("add_group", name)
        labels, prefix = self._labels, self._prefix
        if extra is None:
            prefix = f"{prefix}{name}_"
        elif name in OWN_LABELS:
            raise self._error(f"adds a metric group {name!r} of its own", "give the group another name")
        else:
            labels = {**labels, name: str(extra)}
        return OperatorMetrics(self._registry, self._node, labels, self._opening, prefix)

    def _made(self, call: str, name: str, make: Callable[[str, Mapping[str, str], str], _T]) -> _T:
        self._check(call, name)
        try:
            return make(self._prefix + name, self._labels, f"A {call} of the job.")
        except metrics.KindError as error:
            raise self._error(
                f"makes the {call} {name!r}, a name that stands for a {error.kind} already",
                "give one of them another name",
            ) from error

    def _check(self, call: str, name: str) -> None:
        if not self._opening():
            raise self._error(
                f"calls {call}() of its metrics outside open()",
                "call it in open() and keep the metric in an attribute",
            )
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._error(
                f"names a metric {name!r}", "names are letters, digits and _, and begin with no digit"
            )

    def _error(self, what: str, remedy: str) -> JobError:
        node = self._node
        return JobError(f"operator {node.name!r} {what}", help=remedy, location=node.location)


class _Asked:
    """A user's gauge: if asking it fails, that is said once and it stands as it stood.

    It is asked in the worker's loop, between two batches: while it runs nothing else does, and one that does
    not come back is a hang like that of a record.
    """

    def __init__(self, name: str, ask: Callable[[], float], registry: metrics.Registry, what: str) -> None:
        self._name = name
        self._ask = ask
        self._registry = registry
        self._what = what
        self._last = 0.0
        self._has_failed = False

    def __call__(self) -> float:
        self._registry.asking(self._what)
        try:
            self._last = float(self._ask())
        except USER_ERRORS as error:
            if is_interrupt(error):
                raise
            if not self._has_failed:
                self._has_failed = True
                _log.warning("the gauge %r raised %s (said once)", self._name, summary(error), exc_info=error)
        finally:
            self._registry.asking("")
        return self._last

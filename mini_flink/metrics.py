"""Metrics: what a process counts and measures, and the file in which others read it.

Owns the layout of that file, which lies beside the process's progress page, and the buckets of histograms.
Raising a metric is an addition in memory; the process's own loop publishes them all a few times a second
(:class:`Publisher`), and anybody reads them without a lock (:func:`read_metrics`). Counters and histograms go
on through restarts of the process, gauges begin anew. Nothing is synced, and no promise rests on it.

The file holds a directory of what is in it and the values twice: the publisher fills the half that is not
current and then makes it the current one, so that a process killed in the middle leaves the other half whole.
A new directory is a new file.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

FORMAT_VERSION = 1
METRIC_LIMIT = 16_384
"""Metrics of one process; what is over it counts for itself alone, and is not published."""
UNPUBLISHED = "mini_flink_metrics_unpublished"

OPERATOR_FAILURES = "mini_flink_operator_failures_total"
OPERATOR_IN = "mini_flink_operator_records_in_total"
OPERATOR_OUT = "mini_flink_operator_records_out_total"

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SECONDS, ONE = 1e-6, 1.0
"""What a histogram observes: microseconds, published as seconds; or a plain number."""

_MAGIC = b"MFMETRIC"
# magic, version, sequence (its lowest bit: which half is current), bytes of the directory, values in a half
_HEADER = struct.Struct("=8sQQQQ")
_SEQUENCE_AT = 16
_DIRECTORY_AT = 64
_SEQUENCE = struct.Struct("=Q")
_VALUE_BYTES = 8

_SUB_BUCKETS_BITS = 2
_SUB_BUCKETS = 1 << _SUB_BUCKETS_BITS
_LARGEST_BITS = 28
_BUCKETS = (_LARGEST_BITS - _SUB_BUCKETS_BITS + 1) * _SUB_BUCKETS + 1
_LAST = _BUCKETS - 1


def bucket_of(value: int) -> int:
    """The bucket of a number: exact up to 7, then four to each power of two, the last for 2**28 and more."""
    if value < _SUB_BUCKETS:
        return max(value, 0)
    shift = value.bit_length() - _SUB_BUCKETS_BITS - 1
    index = (shift << _SUB_BUCKETS_BITS) + (value >> shift)
    return min(index, _LAST)


def _end_of(bucket: int) -> int:
    """The first number behind a bucket."""
    if bucket < _SUB_BUCKETS:
        return bucket + 1
    shift, part = divmod(bucket - _SUB_BUCKETS, _SUB_BUCKETS)
    return (_SUB_BUCKETS + part + 1) << shift


def _bounds(unit: float) -> list[float]:
    """The largest value of each bucket: of whole numbers exactly, of times the next bucket's begin."""
    ends = [_end_of(bucket) for bucket in range(_LAST)]
    bounds = [float(end - 1) for end in ends] if unit == ONE else [end / 1_000_000 for end in ends]
    return [*bounds, float("inf")]


_BOUNDS = {unit: _bounds(unit) for unit in (SECONDS, ONE)}

EXPOSED_BOUNDS = frozenset(
    [7 * 2**power / 1_000_000 for power in range(3, 22)]
    + [float(2**power - 1) for power in (*range(13), *range(14, 26, 2))]
)
"""Of all bounds those that ``/metrics`` has, as each is a series: for times each twice the one before, from
56 µs to 14.7 s, two of them just under a quarter of a second and a second, which alerts ask for; for whole
numbers the same up to 4095, then each four times, to 16,777,215. Each is one of the bounds above, so that
counts stay exact."""


class Sample(NamedTuple):
    """A metric as published. ``value`` of a histogram is the sum of what it observed; its buckets are upper
    bounds in the unit of the name with how many values are in each, not cumulative, the last bound infinite.
    """

    name: str
    kind: str
    labels: dict[str, str]
    value: float
    buckets: list[tuple[float, int]]
    help: str


class Counter:
    """Only ever raised, but by a user who calls ``dec``."""

    __slots__ = ("before", "value")
    kind = COUNTER
    unit = ONE
    size = 1

    def __init__(self) -> None:
        self.before = 0.0
        self.value: float = 0

    def go_on(self, values: list[float]) -> None:
        """What a predecessor counted is added from now on."""
        self.before = values[0]

    def values(self) -> tuple[float, ...]:
        """What is published."""
        return (self.before + self.value,)


class Gauge:
    """How something stands. ``read``, if there is one, is asked when it is published."""

    __slots__ = ("read", "value")
    kind = GAUGE
    unit = ONE
    size = 1

    def __init__(self) -> None:
        self.value: float = 0
        self.read: Callable[[], float] | None = None

    def go_on(self, values: list[float]) -> None:
        """Gauges begin anew."""

    def values(self) -> tuple[float, ...]:
        """What is published."""
        return (self.value if self.read is None else self.read(),)


class Histogram:
    """How values are spread; in whole microseconds, or plain numbers, as ``unit`` says."""

    __slots__ = ("buckets", "sum", "unit")
    kind = HISTOGRAM
    size = 1 + _BUCKETS

    def __init__(self, unit: float = SECONDS) -> None:
        self.unit = unit
        self.sum: float = 0
        self.buckets = [0] * _BUCKETS

    def observe(self, value: int, times: int = 1) -> None:
        """A value was seen, so many times."""
        self.sum += value * times
        # As bucket_of, here once more: for each request and commit a call less.
        if value < _SUB_BUCKETS:
            self.buckets[value if value > 0 else 0] += times
            return
        shift = value.bit_length() - _SUB_BUCKETS_BITS - 1
        index = (shift << _SUB_BUCKETS_BITS) + (value >> shift)
        self.buckets[index if index < _LAST else _LAST] += times

    def observe_seconds(self, seconds: float, times: int = 1) -> None:
        """A time was seen, so many times."""
        self.observe(int(seconds * 1_000_000), times)

    def go_on(self, values: list[float]) -> None:
        """What a predecessor saw is added."""
        self.sum += values[0] / self.unit
        self.buckets = [count + int(before) for count, before in zip(self.buckets, values[1:], strict=True)]

    def values(self) -> tuple[float, ...]:
        """What is published."""
        return (self.sum * self.unit, *self.buckets)


Metric = Counter | Gauge | Histogram
_M = TypeVar("_M", Counter, Gauge, Histogram)
_Key = tuple[str, tuple[tuple[str, str], ...]]


class KindError(Exception):
    """A name stands for one kind of metric: this one for ``kind`` already."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"{name} is a {kind}")
        self.kind = kind


class OperatorCounters:
    """What an operator did in one subtask, wherever it runs."""

    def __init__(self, registry: Registry, uid: str, subtask: int) -> None:
        labels = {"operator": uid, "subtask": str(subtask)}
        self._taken = registry.counter(OPERATOR_IN, labels, "Records into an operator.")
        self._given = registry.counter(OPERATOR_OUT, labels, "Records out of an operator.")
        self._failed = registry.counter(OPERATOR_FAILURES, labels, "Records that failed in an operator.")

    def set(self, taken: int, given: int, failed: int) -> None:
        """How often since the process began."""
        self._taken.value = taken
        self._given.value = given
        self._failed.value = failed


class _Entry(NamedTuple):
    """A metric with all that its directory says of it."""

    name: str
    labels: dict[str, str]
    help: str
    metric: Metric

    def described(self) -> list[Any]:
        metric = self.metric
        return [self.name, metric.kind, self.labels, self.help, metric.size, metric.unit]


class Registry:
    """The metrics of one process, made when they are first asked for; by name and labels always the same.

    Without a publisher they only count. ``say`` hears once that there are more than are published.
    """

    def __init__(self, say: Callable[[str], None] | None = None, limit: int = METRIC_LIMIT) -> None:
        self._entries: dict[_Key, _Entry] = {}
        self._kinds: dict[str, str] = {}
        self._before: dict[_Key, tuple[_Row, list[float]]] = {}
        self._say = say
        self._limit = limit
        self._unpublished: Gauge | None = None
        self.version = 0
        self.asking: Callable[[str], None] = lambda _: None
        """Hears which of the user's functions is asked for a value, and, with nothing, that it has told."""

    def counter(self, name: str, labels: Mapping[str, str] | None = None, help: str = "") -> Counter:
        """The counter of this name with these labels."""
        return self._get(Counter, Counter, name, labels, help)

    def gauge(self, name: str, labels: Mapping[str, str] | None = None, help: str = "") -> Gauge:
        """The gauge of this name with these labels."""
        return self._get(Gauge, Gauge, name, labels, help)

    def histogram(
        self, name: str, labels: Mapping[str, str] | None = None, help: str = "", unit: float = SECONDS
    ) -> Histogram:
        """The histogram of this name with these labels."""
        return self._get(Histogram, lambda: Histogram(unit), name, labels, help)

    def _get(
        self, kind: type[_M], make: Callable[[], _M], name: str, labels: Mapping[str, str] | None, help: str
    ) -> _M:
        known = self._kinds.setdefault(name, kind.kind)
        if known != kind.kind:
            raise KindError(name, known)
        key = _key(name, labels or {})
        entry = self._entries.get(key)
        if entry is not None and isinstance(entry.metric, kind):
            return entry.metric
        metric = make()
        if len(self._entries) >= self._limit and name != UNPUBLISHED:
            self._note_unpublished(name)
            return metric
        before = self._before.pop(key, None)
        if before is not None and before[0].fits(metric):
            metric.go_on(before[1])
        self._entries[key] = _Entry(name, dict(labels or {}), help, metric)
        self.version += 1
        return metric

    def _note_unpublished(self, name: str) -> None:
        if self._unpublished is None:
            self._unpublished = self.gauge(UNPUBLISHED, help="Metrics over the limit, which are not shown.")
            if self._say is not None:
                self._say(
                    f"there are more than {self._limit} metrics: {name} and those after it are not shown. "
                    "Have fewer names and values of add_group"
                )
        self._unpublished.value += 1

    def go_on(self, before: Iterable[tuple[_Row, list[float]]]) -> None:
        """Counters and histograms begin where predecessors left them, also those that are made later."""
        for row, values in before:
            key = _key(row.name, row.labels)
            entry = self._entries.get(key)
            if entry is None:
                self._before[key] = row, values
            elif row.fits(entry.metric):
                entry.metric.go_on(values)
        self.version += 1

    def entries(self) -> list[_Entry]:
        """What is published: also what only predecessors counted, unless its name means another kind now."""
        mine = list(self._entries.values())
        for row, values in self._before.values():
            known = self._kinds.get(row.name, row.kind)
            if row.kind != GAUGE and known == row.kind and len(mine) < self._limit:
                metric = Histogram(row.unit) if row.kind == HISTOGRAM else Counter()
                if row.fits(metric):
                    metric.go_on(values)
                    mine.append(_Entry(row.name, row.labels, row.help, metric))
        return mine


def _key(name: str, labels: Mapping[str, str]) -> _Key:
    return name, tuple(sorted(labels.items()))


# --- the file ---------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A metric as the directory has it."""

    name: str
    kind: str
    labels: dict[str, str]
    help: str
    size: int
    unit: float

    def fits(self, metric: Metric) -> bool:
        """Whether its values can be added to."""
        return (self.kind, self.size, self.unit) == (metric.kind, metric.size, metric.unit)


def beside(page_path: str) -> str:
    """Where the metrics of the process with this progress page are."""
    return page_path.removesuffix(".page") + ".metrics"


def forget(path: str) -> None:
    """A new server begins: counters begin at zero."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Publisher:
    """Writes a registry's metrics into the file at ``path``. The first time it goes on from what is there:
    not sooner, since a predecessor may publish until its successor's first word.
    """

    def __init__(self, path: str, registry: Registry) -> None:
        self._path = path
        self._registry = registry
        self._version: int | None = None
        self._metrics: list[Metric] = []
        self._has_begun = False
        self._map: mmap.mmap | None = None
        self._sequence = 0
        self._halves_at = 0
        self._half_bytes = 0

    def publish(self) -> None:
        """Make the values of this moment those that are read; without space for more, the old ones stay."""
        registry = self._registry
        if not self._has_begun:
            self._has_begun = True
            registry.go_on(_read(self._path))
        if registry.version != self._version:
            try:
                self._begin_file(registry.entries())
            except OSError:
                return  # nothing depends on it; the next time may go better
            self._version = registry.version
            return
        if self._map is not None:
            self._sequence += 1
            self._map[self._half(self._sequence)] = self._values()
            _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence)

    def _half(self, sequence: int) -> slice:
        start = self._halves_at + (sequence & 1) * self._half_bytes
        return slice(start, start + self._half_bytes)

    def _values(self) -> bytes:
        values = array("d")
        for metric in self._metrics:
            values.extend(metric.values())
        return values.tobytes()

    def _begin_file(self, entries: list[_Entry]) -> None:
        metrics = [entry.metric for entry in entries]
        directory = json.dumps([entry.described() for entry in entries]).encode()
        directory += b" " * (-len(directory) % _VALUE_BYTES)
        before, self._metrics = self._metrics, metrics
        try:
            values = self._values()
            count = len(values) // _VALUE_BYTES
            header = _HEADER.pack(_MAGIC, FORMAT_VERSION, 0, len(directory), count).ljust(
                _DIRECTORY_AT, b"\0"
            )
            temporary = f"{self._path}.new"
            with open(temporary, "w+b") as file:
                # All of it is written, also the half that is not current: a hole on a full disk would end
                # the process later.
                file.write(header + directory + values + values)
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0)
            os.replace(temporary, self._path)
        except OSError:
            self._metrics = before
            raise
        self.close()
        self._map, self._sequence = mapped, 0
        self._halves_at, self._half_bytes = _DIRECTORY_AT + len(directory), len(values)

    def close(self) -> None:
        """Unmap the file; it stays."""
        if self._map is not None:
            self._map.close()
            self._map = None


def read_metrics(path: str) -> list[Sample]:
    """What the process with the file at ``path`` published last; nothing if there is no such file."""
    return [_sample(row, values) for row, values in _read(path)]


def _sample(row: _Row, values: list[float]) -> Sample:
    buckets = []
    if row.kind == HISTOGRAM:
        buckets = list(zip(_BOUNDS[row.unit], map(int, values[1:]), strict=True))
    return Sample(row.name, row.kind, row.labels, values[0], buckets, row.help)


def _read(path: str) -> list[tuple[_Row, list[float]]]:
    try:
        with open(path, "rb") as file:
            while True:
                content = file.read()
                file.seek(0)
                # The half that was current has not been written to while the header is the same.
                if file.read(_DIRECTORY_AT) == content[:_DIRECTORY_AT]:
                    return _rows(content)
                file.seek(0)
    except FileNotFoundError:
        return []


def _rows(content: bytes) -> list[tuple[_Row, list[float]]]:
    if len(content) < _DIRECTORY_AT:
        return []
    magic, version, sequence, directory_bytes, count = _HEADER.unpack_from(content)
    start = _DIRECTORY_AT + directory_bytes
    if (magic, version) != (_MAGIC, FORMAT_VERSION) or len(content) != start + 2 * count * _VALUE_BYTES:
        return []
    at = start + (sequence & 1) * count * _VALUE_BYTES
    values = list(array("d", content[at : at + count * _VALUE_BYTES]))
    rows, position = [], 0
    for described in json.loads(content[_DIRECTORY_AT:start]):
        row = _Row(*described)
        rows.append((row, values[position : position + row.size]))
        position += row.size
    return rows

"""Users' metrics: made in open(), named well, and counted also where nobody publishes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mini_flink.datastream import MapFunction
from mini_flink.datastream.metrics import MetricGroup
from mini_flink.errors import JobError
from mini_flink.metrics import Registry
from mini_flink.operators.metrics import OperatorMetrics

Use = Callable[[MetricGroup], object]


class Using(MapFunction):
    """Does with its metrics what a test wants."""

    kept: list[Any] = []  # noqa: RUF012 - shared by all copies, on purpose

    def __init__(self, use: Use) -> None:
        self.use = use

    def open(self, runtime_context):
        self.kept.append(self.use(runtime_context.get_metrics_group()))
        self.context = runtime_context

    def map(self, value):
        return value


@pytest.fixture
def opened(job_of):
    def make(use: Use) -> Any:
        Using.kept.clear()
        job_of(lambda env: env.from_requests("/a").map(Using(use)).name("using").uid("using").reply())
        (made,) = Using.kept
        return made

    return make


def test_they_count(opened) -> None:
    counter = opened(lambda group: group.counter("seen"))
    counter.inc()
    counter.inc(4)
    counter.dec(2)
    assert counter.get_count() == 3
    meter = opened(lambda group: group.meter("paid", time_span_in_seconds=10))
    meter.mark_event(5)
    meter.mark_event()
    with pytest.raises(ValueError, match=r"mark_event\(-1\)"):
        meter.mark_event(-1)
    assert meter.get_count() == 6
    assert meter.get_rate() == pytest.approx(0.6)
    opened(lambda group: group.distribution("size")).update(7)


def test_one_name_is_one_metric(opened) -> None:
    first, second = opened(lambda group: (group.counter("seen"), group.counter("seen")))
    first.inc()
    assert second.get_count() == 1


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda group: group.counter("two words"), "names a metric 'two words'"),
        (lambda group: group.gauge("1st", int), "names a metric '1st'"),
        (lambda group: group.meter(""), "names a metric ''"),
        (lambda group: group.add_group("a-b"), "names a metric 'a-b'"),
        (lambda group: group.add_group("subtask", "7"), "metric group 'subtask' of its own"),
        (lambda group: group.gauge("level", 7), "gives the gauge 'level' no function"),
        (lambda group: group.meter("paid", 0), "time span of 0 s"),
        (lambda group: (group.counter("seen"), group.gauge("seen", int)), "stands for a counter already"),
    ],
)
def test_mistakes_are_said(opened, use: Use, message: str) -> None:
    with pytest.raises(JobError, match=message) as caught:
        opened(use)
    assert "'using'" in caught.value.message
    assert caught.value.help


def test_outside_open_there_are_none(opened) -> None:
    group = opened(lambda group: group)
    with pytest.raises(JobError, match=r"calls counter\(\) of its metrics outside open\(\)"):
        group.counter("late")
    with pytest.raises(JobError, match=r"outside open\(\)"):
        group.add_group("late")


def test_a_gauge_that_raises_stands_as_it_stood(job_of, caplog) -> None:
    job = job_of(lambda env: env.from_requests("/a").map(len).reply())
    node = next(iter(job.plan.operators.values()))
    registry = Registry()
    levels = iter([5, 6])
    OperatorMetrics(registry, node, {}, lambda: True).gauge("level", lambda: next(levels))
    gauge = registry.gauge("mini_flink_user_level")
    assert [gauge.values() for _ in range(4)] == [(5,), (6,), (6,), (6,)]
    assert [record.getMessage() for record in caplog.records] == [
        "the gauge 'level' raised StopIteration (said once)"
    ]

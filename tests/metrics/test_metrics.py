"""Metrics are read as they were published: whole, by anybody, also of a process that was killed."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from mini_flink import metrics, progress
from mini_flink.metrics import (
    ONE,
    SECONDS,
    KindError,
    Publisher,
    Registry,
    Sample,
    beside,
    bucket_of,
    read_metrics,
)

LABELS = {"operator": "total", "subtask": "3"}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "w0.metrics")


def published(path: str) -> dict[str, Sample]:
    return {sample.name: sample for sample in read_metrics(path)}


def fill(path: str, *, seen: int, times: list[float], level: float) -> Publisher:
    """A process that counts, measures and publishes."""
    registry = Registry()
    publisher = Publisher(path, registry)
    registry.counter("seen_total", LABELS, "What was seen.").value += seen
    histogram = registry.histogram("took_seconds", LABELS)
    for time in times:
        histogram.observe_seconds(time)
    registry.gauge("level").value = level
    publisher.publish()
    return publisher


# --- histograms -------------------------------------------------------------------------------------------


def test_each_value_is_in_the_bucket_that_its_bounds_say() -> None:
    random = Random(1)
    values = [*range(300), *(2**power + change for power in range(9, 40) for change in (-1, 0, 1))]
    values += [random.randrange(2 ** random.randrange(1, 40)) for _ in range(2000)]
    for value in values:
        histogram = metrics.Histogram(ONE)
        histogram.observe(value)
        bounds = metrics._BOUNDS[ONE]
        (bucket,) = [index for index, count in enumerate(histogram.buckets) if count]
        assert value <= bounds[bucket]
        assert bucket == 0 or value > bounds[bucket - 1]


def test_bounds_grow_by_a_quarter_at_most_and_reach_minutes() -> None:
    bounds = metrics._BOUNDS[SECONDS]
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == math.inf
    assert bounds[-2] > 240
    pairs = itertools.pairwise(bounds[4:-1])
    assert all(after <= before * 1.25 + 1e-9 for before, after in pairs)
    assert bucket_of(-5) == bucket_of(0) == 0


# --- the file ---------------------------------------------------------------------------------------------


def test_what_is_published_is_read(path: str) -> None:
    fill(path, seen=3, times=[0.001, 0.001, 2.0], level=0.5)
    found = published(path)
    assert found["seen_total"] == Sample("seen_total", "counter", LABELS, 3, [], "What was seen.")
    assert found["level"] == Sample("level", "gauge", {}, 0.5, [], "")
    took = found["took_seconds"]
    assert (took.kind, round(took.value, 6)) == ("histogram", 2.002)
    assert [count for _, count in took.buckets if count] == [2, 1]
    assert all(bound >= 0.001 for bound, count in took.buckets if count)
    assert took.buckets[-1] == (math.inf, 0)


def test_without_a_file_there_is_nothing_and_nothing_of_others_is_read(path: str) -> None:
    assert read_metrics(path) == []
    for content in (b"", b"short", b"x" * 4096):
        Path(path).write_bytes(content)
        assert read_metrics(path) == []
    fill(path, seen=1, times=[], level=0).close()
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:-8])
    assert read_metrics(path) == []


def test_a_metric_that_comes_later_is_published_too(path: str) -> None:
    registry = Registry()
    publisher = Publisher(path, registry)
    publisher.publish()
    assert read_metrics(path) == []
    counter = registry.counter("late_total")
    assert registry.counter("late_total") is counter
    for count in range(1, 4):
        counter.value += 1
        publisher.publish()
        assert published(path)["late_total"].value == count


def test_counters_and_histograms_go_on_and_gauges_do_not(path: str) -> None:
    fill(path, seen=3, times=[0.5], level=7).close()
    fill(path, seen=4, times=[0.5, 9.0], level=0).close()
    found = published(path)
    assert (found["seen_total"].value, found["level"].value) == (7, 0)
    assert round(found["took_seconds"].value, 3) == 10
    assert [count for _, count in found["took_seconds"].buckets if count] == [2, 1]


def test_what_only_predecessors_counted_stays_until_its_name_means_something_else(path: str) -> None:
    fill(path, seen=3, times=[0.5], level=7).close()
    registry = Registry()
    publisher = Publisher(path, registry)
    publisher.publish()
    assert {name: sample.value for name, sample in published(path).items()} == {
        "seen_total": 3,
        "took_seconds": 0.5,
    }
    registry.gauge("took_seconds").value = 1
    publisher.publish()
    assert {name: sample.kind for name, sample in published(path).items()} == {
        "seen_total": "counter",
        "took_seconds": "gauge",
    }


def test_a_name_has_one_kind() -> None:
    registry = Registry()
    registry.counter("seen", {"a": "1"})
    with pytest.raises(KindError, match="seen is a counter"):
        registry.gauge("seen", {"a": "2"})


def test_metrics_over_the_limit_count_unseen_and_that_is_said_once(path: str) -> None:
    said: list[str] = []
    registry = Registry(said.append, limit=2)
    publisher = Publisher(path, registry)
    for number in range(5):
        registry.counter(f"m{number}").value += 1
    publisher.publish()
    found = published(path)
    assert {name: sample.value for name, sample in found.items()} == {
        "m0": 1,
        "m1": 1,
        metrics.UNPUBLISHED: 3,
    }
    assert len(said) == 1
    assert "m2" in said[0]


def test_without_space_the_old_values_stay(path: str) -> None:
    publisher = fill(path, seen=3, times=[], level=0)
    os.mkdir(f"{path}.new")  # nothing can be written there
    publisher._registry.counter("more_total").value = 1
    publisher._registry.counter("seen_total", LABELS).value = 9
    publisher.publish()
    assert published(path)["seen_total"].value == 3
    os.rmdir(f"{path}.new")
    publisher.publish()
    assert {name: sample.value for name, sample in published(path).items()}["more_total"] == 1


def test_a_new_server_begins_at_zero(tmp_path: Path) -> None:
    page = str(tmp_path / "w0.page")
    fill(beside(page), seen=3, times=[], level=0).close()
    progress.reset_counters(page)
    assert read_metrics(beside(page)) == []


BUSY = """
import sys
from mini_flink.metrics import Publisher, Registry
registry = Registry()
publisher = Publisher(sys.argv[1], registry)
counters = [registry.counter(f"c{number}_total") for number in range(40)]
histogram = registry.histogram("took_seconds")
print("begun", flush=True)
round = 0
while True:
    round += 1
    for counter in counters:
        counter.value += 1
    histogram.observe(round)
    if round % 50 == 0:
        name = f"late{round // 50 % 20}_total"
        counters.append(registry.counter(name, {"round": str(round)}))
        counters[-1].value = round
    publisher.publish()
"""


def test_readers_never_see_half_an_update_also_of_a_killed_process(path: str) -> None:
    before = 0.0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", BUSY, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
            seen: set[float] = set()
            while len(seen) < 30:
                if samples := read_metrics(path):
                    seen.add(check_whole(samples))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        last = check_whole(read_metrics(path))
        assert min(seen) >= before
        assert last >= max(seen)
        before = last


def check_whole(samples: list[Sample]) -> float:
    """All counters were raised together: how often."""
    (rounds,) = {sample.value for sample in samples if sample.name.startswith("c")}
    (took,) = [sample for sample in samples if sample.kind == "histogram"]
    assert sum(count for _, count in took.buckets) == rounds
    return rounds

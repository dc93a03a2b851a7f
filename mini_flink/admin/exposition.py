"""Everything that is counted, as Prometheus reads it: base units, ``_total``, a line of help for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from mini_flink import __version__
from mini_flink.admin.sampling import WORKER_CLOCK, Reading, name_of
from mini_flink.metrics import EXPOSED_BOUNDS, Sample
from mini_flink.progress import GAUGES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("starting", "serving", "degraded", "changing", "draining", "drained", "stopping")
"""What a server may be in; ``changing`` is a rescale or an upgrade."""

HELP: Mapping[str, Mapping[str, str]] = {
    "worker": {
        "records_in": "records that were taken in to be run, from gateways and workers",
        "records_out": "records and replies that were sent on",
        "batches": "batches of records, each with one commit",
        "commits": "commits to the log, each with one sync in durability disk",
        "resends": "records sent again, because a process was started again or a message was lost",
        "duplicates": "records that came twice and were run once",
        "gaps": "messages that left a gap in what came before; what is missing is asked for again",
        "fenced": "messages from an earlier life of a process, or from before a rescale: ignored",
        "dead_letters": "records that failed and became dead letters",
        "dropped_outputs": "replies to a gateway that had been started again: their clients are gone",
        "expired": "records whose client had heard 504 before their turn came: they were not run",
        "pending": "records that are here and not committed",
        "log_bytes": "size of the commit log, which is read again after a crash",
        "overlay_bytes": "changed state that is in the log and not yet in the table",
        "outbox_records": "records sent and not yet acknowledged by their receiver",
        "storage_full": "1 if there is no space: nothing is taken in, nothing is lost",
    },
    "gateway": {
        "requests": "requests that were let in",
        "answered": "requests that were answered by the job",
        "refused": "requests that were answered with 503 at the door: at capacity, draining, or no space",
        "timed_out": "requests that were answered with 504; whether they were applied is not known",
        "late_replies": "replies that came after the request had been answered with 504",
        "extra_replies": "replies to a request that had its answer",
        "fenced": "messages from an earlier life of a worker, or from before a rescale: ignored",
        "resends": "requests sent again, because a worker was started again or a message was lost",
        "pending": "requests that wait for their answer",
    },
}
"""What counters and gauges of progress pages mean, by the role of their process."""


class _Collector:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def expose(reading: Reading, viewers: int) -> bytes:
    """The text of ``/metrics`` for one reading."""
    metrics = [*_pages(reading), *_processes(reading), *_server(reading, viewers), *_files(reading)]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics))
    return generate_latest(registry)


def _pages(reading: Reading) -> Iterator[Metric]:
    """The counters and gauges of progress pages, which go on when a process is started again."""
    families: dict[str, Metric] = {}
    for process in reading.status["processes"]:
        for name, value in process["counters"].items():
            metric = f"mini_flink_{process['role']}_{name}"
            if metric not in families:
                kind = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
                families[metric] = kind(metric, HELP[process["role"]][name], labels=["process"])
            families[metric].add_metric([name_of(process)], value)  # type: ignore[attr-defined]
    yield from families.values()


def _processes(reading: Reading) -> Iterator[Metric]:
    labels = ["process"]
    up = GaugeMetricFamily("mini_flink_process_up", "1 if the process is ready", labels=labels)
    restarts = CounterMetricFamily("mini_flink_process_restarts", "starts after the first", labels=labels)
    cpu = CounterMetricFamily(
        "mini_flink_process_cpu_seconds", "processor time of this incarnation", labels=labels
    )
    rss = GaugeMetricFamily("mini_flink_process_resident_memory_bytes", "resident memory", labels=labels)
    for process in reading.status["processes"]:
        name = [name_of(process)]
        up.add_metric(name, process["state"] == "ready")
        restarts.add_metric(name, process["restarts"])
        used = reading.usage.get(process["pid"])
        if used is not None:
            cpu.add_metric(name, used.cpu_s)
            rss.add_metric(name, used.rss_bytes)
    yield from (up, restarts, cpu, rss)


def _server(reading: Reading, viewers: int) -> Iterator[Metric]:
    status, snapshots = reading.status, reading.status["snapshots"]
    yield GaugeMetricFamily(
        "mini_flink_uptime_seconds", "since the server was started", status["uptime_ms"] / 1000
    )
    info = GaugeMetricFamily(
        "mini_flink_server_info", "1, for its labels", labels=["job_name", "version", "durability"]
    )
    info.add_metric([status["job"], __version__, status["durability"]], 1)
    yield info
    current, change, _ = status["state"].partition(" (")
    current = "changing" if change and current == "serving" else current
    serves = current in ("serving", "degraded", "changing")
    yield GaugeMetricFamily("mini_flink_serving", "1 if requests are let in", serves)
    state = GaugeMetricFamily("mini_flink_server_state", "1 for the state that it is in", labels=["state"])
    for name in STATES:
        state.add_metric([name], name == current)
    yield state
    yield CounterMetricFamily(
        "mini_flink_snapshots_completed", "snapshots that are whole", snapshots["completed"]
    )
    yield CounterMetricFamily(
        "mini_flink_snapshots_failed", "snapshots that came to nothing", snapshots["failed"]
    )
    yield GaugeMetricFamily(
        "mini_flink_snapshot_interval_seconds",
        "time between two; 0: only when asked",
        snapshots["interval_s"],
    )
    if snapshots["last"]:
        last = snapshots["last"]
        at = "mini_flink_snapshot_last_"
        yield GaugeMetricFamily(
            f"{at}timestamp_seconds", "when the last was begun", last["created_ms"] / 1000
        )
        yield GaugeMetricFamily(f"{at}duration_seconds", "how long it took", last["duration_ms"] / 1000)
        yield GaugeMetricFamily(f"{at}size_bytes", "all of its files", last["total_bytes"])
    if reading.disk_used is not None:
        yield GaugeMetricFamily("mini_flink_disk_used_ratio", "of the disk with the state", reading.disk_used)
    yield GaugeMetricFamily("mini_flink_admin_streams", "open streams of the page", viewers)
    counted = {sample.name for samples in reading.metrics.values() for sample in samples}
    for name, column, what in (
        ("in", "in", "into"),
        ("out", "out", "out of"),
        ("failures", "failed", "failed in"),
    ):
        metric = f"mini_flink_operator_{'failures' if name == 'failures' else f'records_{name}'}"
        if f"{metric}_total" not in counted:
            family = CounterMetricFamily(metric, f"records {what} an operator", labels=["operator"])
            for operator in status["operators"]:
                family.add_metric([operator["uid"]], operator[column])
            yield family


def _files(reading: Reading) -> Iterator[Metric]:
    """What processes measure of themselves; one metric has the same labels in all of them."""
    samples: dict[str, list[tuple[str, Sample]]] = {}
    for process, several in reading.metrics.items():
        for sample in several:
            if sample.name == WORKER_CLOCK:
                continue
            samples.setdefault(sample.name, []).append((process, sample))
    for name, found in samples.items():
        labels = sorted({label for _, sample in found for label in sample.labels})
        yield _family(name, labels, found)


def _family(name: str, labels: list[str], found: list[tuple[str, Sample]]) -> Metric:
    first = found[0][1]
    help, named = first.help or name, [*labels, "process"]
    if first.kind == "histogram":
        histogram = HistogramMetricFamily(name, help, labels=named)
        for process, sample in found:
            histogram.add_metric(_labels(labels, process, sample), _cumulative(sample), sample.value)
        return histogram
    kind = CounterMetricFamily if first.kind == "counter" else GaugeMetricFamily
    family = kind(name.removesuffix("_total") if first.kind == "counter" else name, help, labels=named)
    for process, sample in found:
        family.add_metric(_labels(labels, process, sample), sample.value)
    return family


def _labels(labels: list[str], process: str, sample: Sample) -> list[str]:
    return [*(sample.labels.get(label, "") for label in labels), process]


def _cumulative(sample: Sample) -> list[tuple[str, float]]:
    """How many values are up to each bound that is exposed; the page takes percentiles from all bounds."""
    buckets, total = [], 0
    for bound, count in sample.buckets:
        total += count
        if math.isinf(bound) or bound in EXPOSED_BOUNDS:
            buckets.append(("+Inf" if math.isinf(bound) else repr(bound), float(total)))
    return buckets

"""Two readings of the server's processes make a tick: rates, shares, percentiles. Pure.

Unknown is None and never 0. What is counted by a process that was started again begins anew: a difference is
never negative.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mini_flink.admin.drawing import Drawing
from mini_flink.admin.histograms import Buckets, difference, merge, percentile
from mini_flink.metrics import Sample
from mini_flink.procfs import Usage

HOUR_MS = 3_600_000
LATELY_MS = 600_000
WORKER_CLOCK = "mini_flink_worker_published_seconds"
"""When a worker last published, by its own clock: for exact shares of its time, and nothing else."""
REDO_BYTES_PER_S = 20_000_000
"""Of what is in memory and not in the table. Measured: 13 MB/s with one key a commit, 56 MB/s with fifty."""

_NOTHING: Mapping[str, int] = {"in": 0, "out": 0, "failed": 0}
"""Of an operator that nobody has counted yet."""

Value = TypeVar("Value")
Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""A series: the process, the metric's name, its labels."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How everything stood at one moment; ``at_s`` is monotonic, ``ts_ms`` is Unix time."""

    at_s: float
    ts_ms: int
    status: Mapping[str, Any]
    metrics: Mapping[str, list[Sample]] = field(default_factory=dict)
    usage: Mapping[int, Usage] = field(default_factory=dict)
    disk_used: float | None = None


def name_of(process: Mapping[str, Any]) -> str:
    """As it is called in channels: ``w0``, ``g1``; ``supervisor``, ``admin``."""
    role = process["role"]
    return f"{role[0]}{process['index']}" if role in ("worker", "gateway") else str(role)


def tick(before: Reading | None, now: Reading, drawing: Drawing, seq: int) -> dict[str, Any]:
    """What happened between two readings; without the first, only how things stand."""
    return _Comparison(before, now, drawing).tick(seq)


class _Comparison:
    def __init__(self, before: Reading | None, now: Reading, drawing: Drawing) -> None:
        self._before, self._now, self._drawing = before, now, drawing
        self._dt_s = now.at_s - before.at_s if before else 0.0
        self._values, self._buckets = _indexed(_values(now)), _indexed(_buckets(now))
        self._old_values = dict(_values(before)) if before else {}
        self._old_buckets = dict(_buckets(before)) if before else {}
        self._clocks = dict(self._values[WORKER_CLOCK, ""])
        self._found: dict[tuple[str, str], tuple[int | None, int | None, int | None]] = {}
        self._counts = {each["uid"]: each for each in now.status["operators"]}
        self._old_counts = {each["uid"]: each for each in before.status["operators"]} if before else {}
        self._members: defaultdict[str, list[str]] = defaultdict(list)
        for uid, head in drawing.stage_of.items():
            self._members[head].append(uid)
        edges = drawing.public["edges"]
        self._into = Counter(edge["target"] for edge in edges)
        self._out_of = Counter(edge["source"] for edge in edges)
        self._sums, self._old_sums = _sums(now), _sums(before) if before else {}
        self._is_metered = any(now.metrics.values())

    def tick(self, seq: int) -> dict[str, Any]:
        now, status = self._now, self._now.status
        nodes = [self._node(node) for node in self._drawing.public["nodes"]]
        by_id = {node["id"]: node for node in nodes}
        return {
            "seq": seq,
            "ts": now.ts_ms,
            "dt_ms": round(self._dt_s * 1000),
            "plan_hash": self._drawing.hash,
            "state": status["state"],
            "uptime_s": status["uptime_ms"] // 1000,
            "http": self._http(),
            "nodes": nodes,
            "edges": [self._edge(edge, by_id) for edge in self._drawing.public["edges"]],
            "stages": list(self._stages()),
            "procs": [self._process(process) for process in status["processes"]],
            "snap": self._snapshot(),
            "dlq": {
                "present": self._of_all_workers("mini_flink_dead_letters_present"),
                "total": self._total("worker", "dead_letters"),
                "rate": self._rate("worker", "dead_letters"),
            },
            "disk": {
                "used": _share(now.disk_used),
                "full_in_s": None,
                "is_full": bool(self._total("worker", "storage_full")),
            },
        }

    # --- counters of pages ------------------------------------------------------------------------------

    def _total(self, role: str, counter: str) -> int:
        return _counted(self._now, role, counter)

    def _rate(self, role: str, *counters: str) -> float | None:
        """Per second, over all processes of a role: those that have left take their counts along."""
        if self._before is None:
            return None
        then, now = _by_process(self._before, role, counters), _by_process(self._now, role, counters)
        return self._per_s(sum(_grown(then.get(name, 0), count) for name, count in now.items()))

    def _per_s(self, amount: float) -> float | None:
        return round(amount / self._dt_s, 3) if self._dt_s > 0 else None

    def _share_of_time(self, process: str, seconds: float) -> float:
        """The share of a process's time that it spent on something, by its own clock.

        A worker publishes between two batches: over the watcher's second a share would swing.
        """
        key: Key = (process, WORKER_CLOCK, ())
        then, now = self._old_values.get(key, 0.0), self._clocks.get(key, 0.0)
        dt_s = now - then if then and now > then else self._dt_s
        return min(1.0, seconds / dt_s) if dt_s > 0 else 0.0

    # --- series of metrics ------------------------------------------------------------------------------

    def _grew(self, metric: str, operator: str = "") -> dict[Key, float]:
        """How much each series of a counter has grown; those of one operator, or all."""
        if self._before is None:
            return {}
        return {
            key: _grown(self._old_values.get(key, 0.0), value)
            for key, value in self._values[metric, operator]
        }

    def _now_of(self, metric: str, operator: str = "") -> list[float]:
        return [value for _, value in self._values[metric, operator]]

    def _of_all_workers(self, metric: str, operator: str = "") -> int | None:
        """The sum of a gauge of all workers, or those an operator runs in; None if one has not told yet."""
        workers = sum(process["role"] == "worker" for process in self._now.status["processes"])
        found = self._now_of(metric, operator)
        return (
            int(sum(found))
            if len(found) >= min(workers, self._drawing.parallelism.get(operator, workers))
            else None
        )

    def _percentiles(self, metric: str, operator: str = "") -> tuple[int | None, int | None, int | None]:
        """50, 95 and 99 % of what was measured since the last reading, in microseconds."""
        if self._before is None:
            return None, None, None
        if (metric, operator) not in self._found:
            merged = merge(
                difference(buckets, self._old_buckets.get(key))
                for key, buckets in self._buckets[metric, operator]
            )
            self._found[metric, operator] = (
                _micros(merged, 0.5),
                _micros(merged, 0.95),
                _micros(merged, 0.99),
            )
        return self._found[metric, operator]

    # --- parts of a tick --------------------------------------------------------------------------------

    def _http(self) -> dict[str, Any]:
        p50, p95, p99 = self._percentiles("mini_flink_request_seconds")
        return {
            "rps": self._rate("gateway", "requests"),
            "err_rate": self._errors_at_the_door(),
            "shed_rate": self._rate("gateway", "refused"),
            "timeout_rate": self._rate("gateway", "timed_out"),
            "inflight": self._total("gateway", "pending"),
            "p50_us": p50,
            "p95_us": p95,
            "p99_us": p99,
        }

    def _errors_at_the_door(self) -> float | None:
        """Answers of 500 and above, per second; without metrics, those that are known to be."""
        grown = self._grew("mini_flink_requests_total")
        if not grown:
            return self._rate("gateway", "timed_out", "refused")
        return self._per_s(sum(value for key, value in grown.items() if dict(key[2])["status"] >= "5"))

    def _node(self, node: Mapping[str, Any]) -> dict[str, Any]:
        uid = node["id"]
        then = self._old_counts.get(uid, _NOTHING) if self._before else None
        counts = self._counts.get(uid, _NOTHING)
        rates = {name: self._per_s(_grown(then[name], counts[name])) if then else None
                 for name in ("in", "out", "failed")}  # fmt: skip
        busy = self._busy(uid)
        mean = sum(busy.values()) / len(busy) if busy else None
        worst = max(busy, key=lambda part: busy[part]) if busy else None
        stage = self._drawing.stage_of.get(uid)
        queue = self._now_of("mini_flink_stage_queue_records", stage) if stage else []
        oldest = self._now_of("mini_flink_stage_oldest_seconds", stage) if stage else []
        stage_p50, _, stage_p99 = (
            self._percentiles("mini_flink_stage_latency_seconds", stage) if stage else (None, None, None)
        )
        return {
            "id": uid,
            "state": "unknown" if rates["in"] is None else "ok" if rates["in"] > 0 else "idle",
            "level": "unknown" if rates["in"] is None else "ok" if rates["in"] > 0 else "idle",
            "why": "",
            "in": rates["in"],
            "out": rates["out"],
            "in_total": counts["in"],
            "out_total": counts["out"],
            "failed_total": counts["failed"],
            "busy": _share(mean),
            "blocked": None,
            "idle": None if mean is None else _share(1 - mean),
            "queueing": self._queueing(stage),
            "worst": None if worst is None else {"part": int(worst), "busy": _share(busy[worst])},
            "skew": round(busy[worst] / mean, 2) if worst is not None and mean else None,
            "queue": int(sum(queue)) if queue else None,
            "queue_cap": None,
            "oldest_ms": round(max(oldest) * 1000) if oldest else None,
            "errors": rates["failed"],
            "retries": None,
            "p50_us": stage_p50,
            "p99_us": stage_p99,
            **self._state_of(uid, stage),
        }

    def _state_of(self, uid: str, stage: str | None) -> dict[str, int | None]:
        """What an operator keeps; of one that declares no state workers tell nothing, though they tell."""
        size = self._of_all_workers("mini_flink_operator_state_bytes", operator=uid)
        keys = self._of_all_workers("mini_flink_operator_state_keys", operator=uid)
        has_told = self._of_all_workers("mini_flink_dead_letters_present") is not None
        if stage and has_told and not self._now_of("mini_flink_operator_state_bytes", operator=uid):
            return {"state_bytes": 0, "keys": 0}
        return {"state_bytes": size, "keys": keys}

    def _busy(self, uid: str) -> dict[str, float]:
        """The share of time that each subtask of an operator ran."""
        busy: dict[str, float] = defaultdict(float)
        if self._dt_s > 0:
            for key, seconds in self._grew("mini_flink_operator_busy_seconds_total", uid).items():
                busy[dict(key[2])["subtask"]] += self._share_of_time(key[0], seconds)
        return dict(busy)

    def _queueing(self, stage: str | None) -> float | None:
        """Of the time that records spent at a stage, the share that they waited."""
        if stage is None or not self._is_metered:
            return None
        waited = sum(self._grew("mini_flink_stage_queue_wait_seconds_total", stage).values())
        busy = sum(
            sum(self._grew("mini_flink_operator_busy_seconds_total", uid).values())
            for uid in self._members[stage]
        )
        return _share(waited / (waited + busy)) if waited + busy > 0 else 0.0

    def _edge(self, edge: Mapping[str, Any], by_id: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        into, out_of = self._into[edge["target"]], self._out_of[edge["source"]]
        target = by_id[edge["target"]]
        chained = edge["ship"] == "chained"
        rate = target["in"] if into == 1 else by_id[edge["source"]]["out"] if out_of == 1 else None
        return {
            "id": edge["id"],
            "rate": rate,
            "bytes": None,
            "queue": None if chained else target["queue"],
            "oldest_ms": None if chained else target["oldest_ms"],
        }

    def _stages(self) -> Iterator[dict[str, Any]]:
        for stage in dict.fromkeys(self._drawing.stage_of.values()):
            p50, p95, p99 = self._percentiles("mini_flink_stage_latency_seconds", stage)
            yield {"id": stage, "p50_us": p50, "p95_us": p95, "p99_us": p99}

    def _process(self, process: Mapping[str, Any]) -> dict[str, Any]:
        name, pid = name_of(process), process["pid"]
        usage = self._now.usage.get(pid)
        old = self._before.usage.get(pid) if self._before else None
        cpu = None
        if usage is not None and old is not None and self._dt_s > 0:
            cpu = _share(_grown(old.cpu_s, usage.cpu_s) / self._dt_s)
        deaths = [event["ts"] for event in self._now.status["events"]
                  if event["kind"] == "died" and event["process"] == name]  # fmt: skip
        restarts = process["restarts"]
        return {
            "id": name,
            "role": process["role"],
            "index": process["index"],
            "pid": pid,
            "state": _life(process),
            "level": "ok",
            "why": "",
            "life": _life(process),
            "cpu": cpu,
            "rss": usage.rss_bytes if usage else None,
            "restarts": restarts,
            # A rescale or upgrade gives its name to a new process; deaths of the one before are not its own.
            "restarts_1h": min(restarts, _younger(deaths, self._now.ts_ms - HOUR_MS)),
            "restarts_10m": min(restarts, _younger(deaths, self._now.ts_ms - LATELY_MS)),
            "uptime_s": int(usage.age_s) if usage else None,
            "last_exit": process["last_exit"] or None,
            "hb_ms": process["silent_ms"],
            "busy": self._worker_busy(process, name),
            "busiest": self._busiest(name),
            **self._commits(name),
            "state_bytes": self._state_bytes(name),
            "pending": process["counters"].get("pending"),
        }

    def _worker_busy(self, process: Mapping[str, Any], name: str) -> float | None:
        grown = self._grew("mini_flink_worker_busy_seconds_total")
        own = [seconds for key, seconds in grown.items() if key[0] == name]
        if not own or self._dt_s <= 0:
            return None
        if (process["silent_ms"] or 0) > self._dt_s * 1000:
            return 1.0  # it is at one record, and has published nothing since it began
        return _share(self._share_of_time(name, sum(own)))

    def _busiest(self, name: str) -> dict[str, Any] | None:
        """The operator that took most of a worker's time, its subtask, and the share."""
        grown = {
            key: seconds
            for key, seconds in self._grew("mini_flink_operator_busy_seconds_total").items()
            if key[0] == name and seconds > 0
        }
        if not grown or self._dt_s <= 0:
            return None
        key = max(grown, key=lambda one: grown[one])
        labels = dict(key[2])
        share = self._share_of_time(name, grown[key])
        return {"node": labels["operator"], "part": int(labels["subtask"]), "busy": _share(share)}

    def _commits(self, name: str) -> dict[str, float | None]:
        """How long a worker's commits took, with their syncs, and what that was of its time."""
        key: Key = (name, "mini_flink_commit_seconds", ())
        now, old = self._sums.get(key), self._old_sums.get(key, (0.0, 0))
        if now is None or self._dt_s <= 0:
            return {"commit_ms": None, "commit_share": None}
        if now[1] < old[1]:
            old = (0.0, 0)
        seconds, count = now[0] - old[0], now[1] - old[1]
        share = _share(self._share_of_time(name, max(0.0, seconds)))
        return {"commit_ms": round(seconds / count * 1000, 2) if count else 0.0, "commit_share": share}

    def _state_bytes(self, name: str) -> int | None:
        own = [value for key, value in self._values["mini_flink_state_bytes", ""] if key[0] == name]
        return int(sum(own)) if own else None

    def _snapshot(self) -> dict[str, Any]:
        facts = self._now.status["snapshots"]
        last = facts["last"] or {}
        created = last.get("created_ms")
        return {
            "id": last.get("id"),
            "age_s": None if created is None else max(0, (self._now.ts_ms - created) // 1000),
            "dur_ms": last.get("duration_ms"),
            "bytes": last.get("total_bytes"),
            "completed": facts["completed"],
            "failed": facts["failed"],
            "failed_in_a_row": _failed_in_a_row(self._now.status["events"]),
            "last_failure": facts["last_failure"],
            "interval_s": facts["interval_s"],
            "running": facts["running_epoch"] is not None,
            "replay_s": self._replay_s(),
        }

    def _replay_s(self) -> float | None:
        """About how long the slowest worker would redo its log, if all died now."""
        unwritten = _by_process(self._now, "worker", ("overlay_bytes",))
        return round(max(unwritten.values()) / REDO_BYTES_PER_S, 2) if unwritten else None


def subtasks_of(before: Reading | None, now: Reading, uid: str) -> list[dict[str, Any]]:
    """An operator's subtasks: where each runs, how busy it is, and what it has counted."""
    old = dict(_values(before)) if before else {}
    dt_s = now.at_s - before.at_s if before else 0.0
    parts: dict[str, dict[str, Any]] = {}
    for key, value in _values(now):
        labels = dict(key[2])
        if labels.get("operator") != uid or "subtask" not in labels:
            continue
        none = {"part": int(labels["subtask"]), "process": key[0], "busy": None, "in": None, "out": None,
                "in_total": None, "out_total": None}  # fmt: skip
        part = parts.setdefault(labels["subtask"], none)
        grown = _grown(old.get(key, 0.0), value) / dt_s if dt_s > 0 else None
        name = key[1].removeprefix("mini_flink_operator_").removesuffix("_total")
        if name == "busy_seconds":
            part["busy"] = None if grown is None else _share(min(1.0, grown))
        elif name in ("records_in", "records_out"):
            part[name.removeprefix("records_")] = None if grown is None else round(grown, 3)
            part[f"{name.removeprefix('records_')}_total"] = int(value)
        else:
            part[name] = value
    return sorted(parts.values(), key=lambda part: int(part["part"]))


def _values(reading: Reading) -> Iterator[tuple[Key, float]]:
    for process, samples in reading.metrics.items():
        for sample in samples:
            if sample.kind != "histogram":
                yield (process, sample.name, tuple(sorted(sample.labels.items()))), sample.value


def _buckets(reading: Reading) -> Iterator[tuple[Key, Buckets]]:
    for process, samples in reading.metrics.items():
        for sample in samples:
            if sample.kind == "histogram":
                yield (process, sample.name, tuple(sorted(sample.labels.items()))), sample.buckets


def _sums(reading: Reading) -> dict[Key, tuple[float, int]]:
    """Of each histogram the sum and the number of what it observed."""
    return {
        (process, sample.name, tuple(sorted(sample.labels.items()))): (
            sample.value,
            sum(count for _, count in sample.buckets),
        )
        for process, samples in reading.metrics.items()
        for sample in samples
        if sample.kind == "histogram"
    }


def _indexed(series: Iterable[tuple[Key, Value]]) -> defaultdict[tuple[str, str], list[tuple[Key, Value]]]:
    """By metric, and by metric and operator: a node asks for a few, and there are thousands of series."""
    found: defaultdict[tuple[str, str], list[tuple[Key, Value]]] = defaultdict(list)
    for key, value in series:
        found[key[1], ""].append((key, value))
        for label, operator in key[2]:
            if label == "operator":
                found[key[1], operator].append((key, value))
    return found


def _by_process(reading: Reading, role: str, counters: Iterable[str]) -> dict[str, int]:
    return {
        name_of(process): sum(process["counters"].get(counter, 0) for counter in counters)
        for process in reading.status["processes"]
        if process["role"] == role
    }


def _counted(reading: Reading, role: str, counter: str) -> int:
    return sum(_by_process(reading, role, (counter,)).values())


def _failed_in_a_row(events: Iterable[Mapping[str, Any]]) -> int:
    failed = 0
    for event in events:
        if event["kind"] == "snapshot":
            failed = 0
        elif event["kind"] == "snapshot_failed":
            failed += 1
    return failed


def _grown(then: float, now: float) -> float:
    return now - then if now >= then else now


def _younger(times_ms: Iterable[int], since_ms: int) -> int:
    return sum(time_ms >= since_ms for time_ms in times_ms)


def _life(process: Mapping[str, Any]) -> str:
    if process["state"] in ("ready", "stopping"):
        return "ok" if process["state"] == "ready" else "stopping"
    return "starting" if process["state"] == "starting" and process["restarts"] == 0 else "down"


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _micros(buckets: Buckets, share: float) -> int | None:
    value = percentile(buckets, share)
    return None if value is None else round(value * 1e6)

"""A server's facts as plain data, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from mini_flink.admin.sampling import Reading
from mini_flink.metrics import Sample
from mini_flink.procfs import Usage

BUSY = "mini_flink_operator_busy_seconds_total"


def process(role: str, index: int = 0, **more: Any) -> dict[str, Any]:
    known = {"role": role, "index": index, "pid": 100 * len(role) + index, "restarts": 0, "state": "ready"}
    return {**known, "last_exit": "", "metrics": "", "counters": {}, "silent_ms": None, **more}


def status(
    requests: int = 0, received: int = 0, failed: int = 0, restarts: int = 0, **more: Any
) -> dict[str, Any]:
    """A server with one keyed operator behind one source, two workers and a gateway."""
    fingerprint: list[Any] = [
        ["in", "requests", "POST /total", None, [], ["/total", ["POST"], "dict", [], None]],
        ["total", "process", "Total", None, [["in", True]], []],
        ["reply", "reply", "reply", None, [["total", False]], [200, [], None]],
    ]
    counters = {"requests": requests, "answered": requests, "refused": 0, "timed_out": 0, "pending": 0}
    counts = {"in": received, "out": received, "failed": failed}
    return {
        "job": "totals",
        "state": "serving",
        "durability": "disk",
        "uptime_ms": 5_000,
        "processes": [
            process("supervisor"),
            process("worker", 0, restarts=restarts, counters={"dead_letters": failed}),
            process("worker", 1, counters={"dead_letters": 0}),
            process("gateway", counters=counters),
        ],
        "operators": [{"uid": uid, "name": uid, **counts} for uid in ("in", "total", "reply")],
        "snapshots": {
            "completed": 0,
            "failed": 0,
            "last": None,
            "last_failure": None,
            "interval_s": 0,
            "running_epoch": None,
        },
        "restored": None,
        "events": [],
        "plan": {
            "fingerprint": fingerprint,
            "numbers": {"in": 1, "total": 2, "reply": 3},
            "parallelisms": {},
            "workers": 2,
            "gateways": 1,
            "max_parallelism": 128,
            "generation": 1,
            "locations": {"total": "job.py:18"},
            "key_names": {"in->total": "user_id"},
            "request_timeout_ms": 10_000,
            "pending_capacity": 1024,
        },
        **more,
    }


def reading(at_s: float, metrics: dict[str, list[Sample]] | None = None, **more: Any) -> Reading:
    return Reading(at_s, int(at_s * 1000), status(**more), metrics or {}, {600: Usage(at_s, 1 << 20, at_s)})


def counter(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, "counter", labels, value, [], "")


def gauge(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, "gauge", labels, value, [], "")

"""Which alerts fire on which course of things, by Prometheus' own rule tests; on a healthy server, none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mini_flink.monitoring import files
from tests.monitoring.test_files import needs_promtool, promtool, rules

STEP_S = 15
LONG_MINUTES, LONG_STEP_S = 100, 300
"""What goes on for longer is looked at less often."""


def series(name: str, **labels: str) -> str:
    named = {"job": "mini_flink", "instance": "a:7072", **labels}
    return f"{name}{{{', '.join(f'{label}={json.dumps(value)}' for label, value in named.items())}}}"


def gauge(value: float) -> str:
    return f"{value:f}x400"


def counter(step: float) -> str:
    """Raised by ``step`` every 15 seconds."""
    return f"0+{step:f}x400"


def late(value: float, after: int = 40) -> str:
    """0, and ``value`` from ten minutes on."""
    return f"0x{after} {value}x400"


def buckets(metric: str, slow: float, limit: str, **labels: str) -> dict[str, str]:
    """Ten observations in 15 s, of which a share is over ``limit``."""
    fast = 10 * (1 - slow)
    return {
        series(metric, le="0.001", **labels): counter(fast),
        series(metric, le=limit, **labels): counter(fast),
        series(metric, le="8", **labels): counter(10),
        series(metric, le="+Inf", **labels): counter(10),
    }


UP = series("up")
SERVING = series("mini_flink_serving")
REQUEST = {"route": "/pay", "process": "g0"}
W0 = {"process": "w0"}
OLDEST = series("mini_flink_stage_oldest_seconds", operator="total", **W0)
BUSY = series("mini_flink_worker_busy_seconds_total", **W0)
RESTARTS = series("mini_flink_process_restarts_total", **W0)
INTERVAL = series("mini_flink_snapshot_interval_seconds")
LAST = series("mini_flink_snapshot_last_timestamp_seconds")
FAILED = series("mini_flink_snapshots_failed_total")
LETTERS = series("mini_flink_worker_dead_letters_total", **W0)
LEFT = series("mini_flink_dead_letters_present", **W0)
FULL = series("mini_flink_worker_storage_full", **W0)
DISK = series("mini_flink_disk_used_ratio")
REFUSED = series("mini_flink_gateway_refused_total", process="g0")
OK, ERROR, LATE, OVERLOADED = (
    series("mini_flink_requests_total", status=status, **REQUEST) for status in ("200", "500", "504", "503")
)


def state(name: str) -> dict[str, str]:
    known = ("starting", "serving", "degraded", "changing", "draining", "drained", "stopping")
    return {series("mini_flink_server_state", state=each): gauge(int(each == name)) for each in known}


HEALTHY: Mapping[str, str] = {
    UP: gauge(1),
    SERVING: gauge(1),
    **state("serving"),
    OK: counter(10),
    ERROR: gauge(0),
    REFUSED: gauge(0),
    **buckets("mini_flink_request_seconds_bucket", 0, "0.5", **REQUEST),
    **buckets("mini_flink_commit_seconds_bucket", 0, "0.1", **W0),
    OLDEST: gauge(0.01),
    BUSY: counter(12),
    RESTARTS: gauge(0),
    series("mini_flink_process_up", **W0): gauge(1),
    series("mini_flink_process_up", process="supervisor"): gauge(1),
    series("mini_flink_uptime_seconds"): counter(STEP_S),
    INTERVAL: gauge(60),
    LAST: counter(STEP_S),
    FAILED: gauge(0),
    LETTERS: gauge(0),
    LEFT: gauge(0),
    FULL: gauge(0),
    DISK: gauge(0.6),
}


class Case(NamedTuple):
    """What differs from a healthy server, and which alerts fire ``minutes`` after the beginning."""

    name: str
    differs: Mapping[str, str | None]
    minutes: int
    firing: frozenset[str]


def case(name: str, differs: Mapping[str, str | None], minutes: int, *firing: str) -> Case:
    return Case(name, differs, minutes, frozenset(f"MiniFlink{each}" for each in firing))


GONE: Mapping[str, str | None] = dict.fromkeys(HEALTHY)
QUIET: Mapping[str, str | None] = {LAST: None, INTERVAL: gauge(0)}
CASES = [
    case("healthy", {}, 30),
    case("it dies", {**GONE, UP: gauge(0)}, 2, "Down"),
    case("it has just died", {**GONE, UP: gauge(0)}, 0),
    case("nobody scrapes it", GONE, 6, "Unwatched"),
    case("it does not get ready", {SERVING: gauge(0), **state("starting")}, 3, "NotServing"),
    case("it starts", {SERVING: gauge(0), **state("starting")}, 1),
    case("drained for a while", {SERVING: gauge(0), **state("drained"), REFUSED: counter(9)}, 10),
    case("drained, forgotten", {SERVING: gauge(0), **state("drained"), REFUSED: counter(9)}, 20, "Drained"),
    case("requests fail", {ERROR: counter(1)}, 12, "Errors"),
    case("requests are too late", {LATE: counter(1)}, 12, "Errors"),
    case("one request in a thousand fails", {ERROR: counter(0.01)}, 12),
    case("the door is full", {REFUSED: counter(1), OVERLOADED: counter(1)}, 9, "Refuses"),
    case(
        "one in fifty is slow",
        buckets("mini_flink_request_seconds_bucket", 0.02, "0.5", **REQUEST),
        20,
        "Slow",
    ),
    case(
        "one in a thousand is slow", buckets("mini_flink_request_seconds_bucket", 0.001, "0.5", **REQUEST), 20
    ),
    case("a worker is busy, nobody waits", {BUSY: counter(15)}, 20),
    case("a worker is busy, and records wait", {BUSY: counter(15), OLDEST: gauge(2)}, 20, "Saturated"),
    case("records wait for an idle worker", {BUSY: counter(0), OLDEST: gauge(20)}, 5, "RecordsWait"),
    case("a worker dies once", {RESTARTS: late(1)}, 12, "ProcessRestarted"),
    case("it died a while ago", {RESTARTS: late(1)}, 25),
    case("it dies again and again", {RESTARTS: counter(0.25)}, 12, "ProcessRestarted", "CrashLoop"),
    case("a worker does not come up", {series("mini_flink_process_up", **W0): gauge(0)}, 3, "ProcessDown"),
    case("a changeover has a worker wait", {series("mini_flink_process_up", **W0): "0x2 1x200"}, 3),
    case("snapshots stop", {LAST: gauge(60)}, 9, "SnapshotOld"),
    case("there never was a snapshot", {LAST: None}, 9, "SnapshotOld"),
    case("snapshots are off", QUIET, 30),
    case("a snapshot fails", {FAILED: late(1)}, 12, "SnapshotsFail"),
    case("records fail", {LETTERS: late(3)}, 12, "DeadLetters"),
    case("records failed long ago", {LETTERS: late(3)}, 25),
    case("nobody looks after them", {**QUIET, LEFT: gauge(3)}, 25 * 60, "DeadLettersLeft"),
    case("they lie since yesterday evening", {**QUIET, LEFT: gauge(3)}, 12 * 60),
    case("no space", {FULL: gauge(1)}, 1, "StorageFull"),
    case("hardly any space", {DISK: gauge(0.95)}, 10, "DiskNearlyFull"),
    case("it fills by 2 % an hour", {**QUIET, DISK: f"0.55+{0.02 / 12}x400"}, 500, "DiskFillsUp"),
    case("it fills by 0.1 % an hour", {**QUIET, DISK: f"0.55+{0.001 / 12}x400"}, 500),
    case("syncs are slow", buckets("mini_flink_commit_seconds_bucket", 0.05, "0.1", **W0), 20, "CommitsSlow"),
]


def as_file(cases: Iterable[Case], step_s: int) -> str:
    """As promtool wants it."""
    tests = [as_test(one, step_s) for one in cases]
    return json.dumps({"rule_files": [files.ALERTS], "evaluation_interval": f"{step_s}s", "tests": tests})


def as_test(one: Case, step_s: int) -> dict[str, Any]:
    course = {**HEALTHY, **one.differs}
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(one.firing)]
    return {
        "name": one.name,
        "interval": f"{step_s}s",
        "input_series": [{"series": name, "values": values} for name, values in course.items() if values],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{one.minutes}m",
                "exp_samples": expected,
            }
        ],
    }


@needs_promtool
def test_alerts_fire_when_they_must_and_only_then(tmp_path: Path) -> None:
    (tmp_path / files.ALERTS).write_text(files.alerts())
    long = [one for one in CASES if one.minutes > LONG_MINUTES]
    short = [one for one in CASES if one not in long]
    assert long
    (tmp_path / "short.yml").write_text(as_file(short, STEP_S))
    (tmp_path / "long.yml").write_text(as_file(long, LONG_STEP_S))
    assert promtool("test", "rules", "short.yml", "long.yml", cwd=tmp_path).count("SUCCESS") == 2


def test_every_alert_fires_in_one_of_them() -> None:
    assert {rule["alert"] for rule in rules()} == frozenset().union(*(one.firing for one in CASES))

"""The dashboard for Grafana: rows that ask an operator's questions, in the order in which they come up.

Owns which panel shows which query; where panels lie and how Grafana wants them written follows. Metrics are
those of ``admin/exposition.py`` and of what processes measure. Called by ``files``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 39
"""Of Grafana 11; later ones read it, too."""
COLUMNS = 24
_HEIGHT, _STAT_HEIGHT = 7, 4
_SELECTED = 'job=~"$job", instance=~"$instance"'
_METRIC = re.compile(r'"[^"]*"|\b(mini_flink_\w+)(?:\{([^}]*)\})?')
"""A metric with its labels; or a string, which may look like one."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """``queries``: expressions with the legends of their lines; job and instance are added to each metric."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 8
    about: str = ""
    is_stat: bool = False
    ceiling: float | None = None


def _stat(title: str, query: str, unit: str = "short", about: str = "", legend: str = "") -> Panel:
    return Panel(title, [(query, legend)], unit, 4, about, is_stat=True)


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{_RATE}))"


def _quantiles(metric: str, by: str = "") -> list[tuple[str, str]]:
    labels = f"{by}, le" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        (
            f"histogram_quantile({share / 100}, sum by ({labels}) (rate({metric}_bucket{_RATE})))",
            f"{share} %{legend}",
        )
        for share in (50, 95, 99)
    ]


ROWS: Sequence[tuple[str, Sequence[Panel]]] = (
    (
        "Is it up?",
        [
            _stat("Serving", "min(mini_flink_serving)", about="1: every instance lets requests in."),
            _stat("State", "mini_flink_server_state == 1", legend="{{state}}"),
            _stat("Uptime", "min(mini_flink_uptime_seconds)", "s"),
            _stat("Processes down", "count(mini_flink_process_up == 0) or vector(0)"),
            _stat("Version", "mini_flink_server_info", legend="{{job_name}} {{version}} {{durability}}"),
            _stat("Disk full", "max(mini_flink_worker_storage_full)", about="1: a worker takes nothing in."),
        ],
    ),
    (
        "Are callers hurt?",
        [
            Panel("Requests", [(_rate("mini_flink_requests_total", "status"), "{{status}}")], "reqps"),
            Panel(
                "Failed answers",
                [
                    (
                        'sum(rate(mini_flink_requests_total{status=~"5..", status!="503"}[$__rate_interval]))'
                        " / sum(rate(mini_flink_requests_total[$__rate_interval]))",
                        "500 and 504",
                    )
                ],
                "percentunit",
            ),
            Panel(
                "Latency",
                _quantiles("mini_flink_request_seconds"),
                "s",
                about="From a request, wholly received, to its answer.",
            ),
            Panel(
                "In flight",
                [("sum by (process) (mini_flink_gateway_pending)", "{{process}}")],
                about="Requests that wait for their answer; --pending-capacity bounds them per gateway.",
            ),
            Panel(
                "Refused and late",
                [
                    ("sum(rate(mini_flink_gateway_refused_total[$__rate_interval]))", "refused, 503"),
                    ("sum(rate(mini_flink_gateway_timed_out_total[$__rate_interval]))", "too late, 504"),
                ],
                "reqps",
            ),
            Panel("99 % of each route", _quantiles("mini_flink_request_seconds", "route")[2:], "s"),
        ],
    ),
    (
        "Since when, and where is it stuck?",
        [
            Panel(
                "Busy operators",
                [
                    (
                        f"max by (operator) (rate(mini_flink_operator_busy_seconds_total{_RATE}))",
                        "{{operator}}",
                    )
                ],
                "percentunit",
                about="Of the busiest subtask. Who is at 100 % is the cause; who waits before it is not.",
                ceiling=1,
            ),
            Panel(
                "Records that wait",
                [("sum by (operator) (mini_flink_stage_queue_records)", "{{operator}}")],
                about="Before a stage, called by its first operator.",
            ),
            Panel(
                "Oldest that waits",
                [("max by (operator) (mini_flink_stage_oldest_seconds)", "{{operator}}")],
                "s",
            ),
            Panel(
                "Records in", [(_rate("mini_flink_operator_records_in_total", "operator"), "{{operator}}")]
            ),
            Panel(
                "Records out", [(_rate("mini_flink_operator_records_out_total", "operator"), "{{operator}}")]
            ),
            Panel("99 % of each stage", _quantiles("mini_flink_stage_latency_seconds", "operator")[2:], "s"),
        ],
    ),
    (
        "The whole operator, or one subtask?",
        [
            Panel(
                "Busy subtasks",
                [
                    (
                        f"sum by (operator, subtask) (rate(mini_flink_operator_busy_seconds_total{_RATE}))",
                        "{{operator}} {{subtask}}",
                    )
                ],
                "percentunit",
                12,
                ceiling=1,
            ),
            Panel(
                "Busy workers",
                [(f"sum by (process) (rate(mini_flink_worker_busy_seconds_total{_RATE}))", "{{process}}")],
                "percentunit",
                12,
                "The share of time in which the worker's loop did not sleep.",
                ceiling=1,
            ),
        ],
    ),
    (
        "What fails, and is anything lost?",
        [
            Panel("Failures", [(_rate("mini_flink_operator_failures_total", "operator"), "{{operator}}")]),
            Panel(
                "Dead letters",
                [
                    ("sum(increase(mini_flink_worker_dead_letters_total[$__rate_interval]))", "new"),
                    ("sum(mini_flink_dead_letters_present)", "there now"),
                ],
            ),
            Panel(
                "Repeated, dropped, fenced",
                [
                    (_rate("mini_flink_worker_resends_total", "job"), "sent again"),
                    (_rate("mini_flink_worker_duplicates_total", "job"), "duplicates dropped"),
                    (_rate("mini_flink_worker_expired_total", "job"), "deadline over before it began"),
                    (_rate("mini_flink_gateway_late_replies_total", "job"), "replies after the deadline"),
                ],
                about="What exactly once takes care of; much of it means that something is slow or restarts.",
            ),
        ],
    ),
    (
        "Does a process crash again and again?",
        [
            Panel(
                "Restarts in 10 minutes",
                [("increase(mini_flink_process_restarts_total[10m])", "{{process}}")],
            ),
            Panel(
                "Processor",
                [(f"rate(mini_flink_process_cpu_seconds_total{_RATE})", "{{process}}")],
                "percentunit",
            ),
            Panel("Memory", [("mini_flink_process_resident_memory_bytes", "{{process}}")], "bytes"),
        ],
    ),
    (
        "How is the disk?",
        [
            Panel("Commit", _quantiles("mini_flink_commit_seconds"), "s", about="Write and sync."),
            Panel("Records per commit", _quantiles("mini_flink_batch_records")),
            Panel("Commits", [(_rate("mini_flink_worker_commits_total", "process"), "{{process}}")]),
            Panel(
                "Disk used",
                [
                    ("mini_flink_disk_used_ratio", "now"),
                    ("predict_linear(mini_flink_disk_used_ratio[6h], 86400)", "in a day"),
                ],
                "percentunit",
                ceiling=1,
            ),
            Panel(
                "State",
                [("sum by (operator) (mini_flink_operator_state_bytes)", "{{operator}}")],
                "bytes",
            ),
            Panel(
                "Log and changed state",
                [
                    ("sum by (process) (mini_flink_worker_log_bytes)", "log {{process}}"),
                    ("sum by (process) (mini_flink_worker_overlay_bytes)", "in memory {{process}}"),
                ],
                "bytes",
            ),
        ],
    ),
    (
        "Is recovery safe?",
        [
            Panel(
                "Age of the last snapshot",
                [
                    ("time() - mini_flink_snapshot_last_timestamp_seconds", "age"),
                    ("mini_flink_snapshot_interval_seconds > 0", "interval"),
                ],
                "s",
            ),
            Panel("Duration of the last", [("mini_flink_snapshot_last_duration_seconds", "duration")], "s"),
            Panel("Size of the last", [("mini_flink_snapshot_last_size_bytes", "size")], "bytes"),
            Panel(
                "Snapshots",
                [
                    ("increase(mini_flink_snapshots_completed_total[1h])", "completed in an hour"),
                    ("increase(mini_flink_snapshots_failed_total[1h])", "failed in an hour"),
                ],
                width=12,
            ),
            Panel(
                "Not yet delivered",
                [("sum by (process) (mini_flink_worker_outbox_records)", "{{process}}")],
                width=12,
                about="Records that the next stage has not acknowledged; they are part of a snapshot.",
            ),
        ],
    ),
    (
        "What does the job itself count?",
        [
            Panel(
                "The job's own metrics",
                [
                    (
                        'sum by (__name__, operator) ({__name__=~"mini_flink_user_.+", '
                        f'__name__!~".+_(bucket|created)", {_SELECTED}}})',
                        "{{__name__}} {{operator}}",
                    )
                ],
                width=24,
                about="What functions register with get_metrics_group(), as it stands now.",
            )
        ],
    ),
)


def text() -> str:
    """The dashboard as Grafana imports it."""
    return json.dumps(dashboard(), indent=2) + "\n"


def dashboard() -> dict[str, Any]:
    """The dashboard as data."""
    return {
        "title": "mini_flink",
        "uid": "mini-flink",
        "tags": ["mini_flink"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_restarts()]},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    for name, query in (
        ("job", "label_values(mini_flink_serving, job)"),
        ("instance", 'label_values(mini_flink_serving{job=~"$job"}, instance)'),
    ):
        yield {
            "name": name,
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }


def _restarts() -> dict[str, Any]:
    """Marks in every panel where a process was started again."""
    return {
        "name": "Restarts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": selected("increase(mini_flink_process_restarts_total[1m]) > 0"),
        "titleFormat": "{{process}} was started again",
        "step": "60s",
    }


def _panels() -> Iterator[dict[str, Any]]:
    id, y = 0, 0
    for title, panels in ROWS:
        id += 1
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"id": id, "type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []}
        x, y = 0, y + 1
        for panel in panels:
            id += 1
            height = _STAT_HEIGHT if panel.is_stat else _HEIGHT
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            yield {"id": id, "gridPos": place, **_panel(panel)}
            x += panel.width
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.ceiling is not None:
        defaults["max"] = panel.ceiling
    return {
        "type": "stat" if panel.is_stat else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": selected(query),
                "legendFormat": legend,
                "instant": panel.is_stat,
                "range": not panel.is_stat,
            }
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.is_stat:
        shown = "name" if panel.queries[0][1] else "value"
        return {"textMode": shown, "colorMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def selected(query: str) -> str:
    """``query`` with each metric limited to the chosen jobs and instances.

    >>> selected('rate(mini_flink_requests_total{status="200"}[5m])')
    'rate(mini_flink_requests_total{status="200", job=~"$job", instance=~"$instance"}[5m])'
    """

    def limited(found: re.Match[str]) -> str:
        if not found[1]:
            return found[0]
        labels = f"{found[2]}, {_SELECTED}" if found[2] else _SELECTED
        return f"{found[1]}{{{labels}}}"

    return _METRIC.sub(limited, query)

"""The same facts in the shape of Flink's REST API, where Flink has the thing. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

Facts = Mapping[str, Any]

_LOW, _HIGH = 0.1, 0.5
AGGREGATES = ("min", "max", "avg", "sum")


def job_id(job: str) -> str:
    """32 hexadecimal digits, as Flink's are; the same at every start."""
    return hashlib.sha256(job.encode()).hexdigest()[:32]


def overview(tick: Facts, plan: Facts) -> dict[str, Any]:
    """``/jobs/overview``."""
    uptime_ms = tick["uptime_s"] * 1000
    return {
        "jobs": [
            {
                "jid": job_id(plan["job"]),
                "name": plan["job"],
                "state": _state(tick),
                "start-time": tick["ts"] - uptime_ms,
                "end-time": -1,
                "duration": uptime_ms,
                "last-modification": tick["ts"] - uptime_ms,
            }
        ]
    }


def job(tick: Facts, plan: Facts) -> dict[str, Any]:
    """``/jobs/{jid}``."""
    [one] = overview(tick, plan)["jobs"]
    return {
        **one,
        "maxParallelism": plan["max_parallelism"],
        "now": tick["ts"],
        "vertices": [vertex(tick, plan, node["id"]) for node in plan["nodes"]],
        **job_plan(plan),
    }


def job_plan(plan: Facts) -> dict[str, Any]:
    """``/jobs/{jid}/plan``."""
    nodes = [
        {
            "id": node["id"],
            "parallelism": node["parallelism"],
            "operator": node["kind"],
            "description": node["name"],
            "inputs": [
                {"num": number, "id": edge["source"], "ship_strategy": edge["ship"]}
                for number, edge in enumerate(e for e in plan["edges"] if e["target"] == node["id"])
            ],
        }
        for node in plan["nodes"]
    ]
    name = plan["job"]
    return {"plan": {"jid": job_id(name), "name": name, "type": "STREAMING", "nodes": nodes}}


def jobs(tick: Facts, plan: Facts) -> dict[str, Any]:
    """``/jobs``."""
    return {"jobs": [{"id": job_id(plan["job"]), "status": _state(tick)}]}


def cluster(tick: Facts, plan: Facts) -> dict[str, Any]:
    """``/overview``: a worker stands where Flink has a task manager with a slot; none is ever free."""
    workers = [process for process in tick["procs"] if process["role"] == "worker"]
    return {
        "taskmanagers": sum(process["life"] == "ok" for process in workers),
        "slots-total": len(workers),
        "slots-available": 0,
        "jobs-running": 1,
        "jobs-finished": 0,
        "jobs-cancelled": 0,
        "jobs-failed": 0,
        "flink-version": plan["version"],
        "flink-commit": "",
    }


def configuration(plan: Facts, interval_ms: int) -> dict[str, Any]:
    """``/config``: what Flink's own page asks for first."""
    return {
        "refresh-interval": interval_ms,
        "timezone-offset": 0,
        "timezone-name": "UTC",
        "flink-version": plan["version"],
        "flink-revision": "",
        "features": {"web-submit": False, "web-cancel": False, "web-rescale": False, "web-history": False},
    }


def exceptions(groups: Sequence[Facts], *, truncated: bool) -> dict[str, Any]:
    """``/jobs/{jid}/exceptions``: what made records dead letters; none of it has stopped the job."""
    entries = [
        {
            "exceptionName": group["type"],
            "stacktrace": "\n".join(group["traceback"]),
            "timestamp": _millis(group["last_seen"]),
            "taskName": group["operator"],
            "endpoint": None,
            "taskManagerId": None,
            "failureLabels": {"group": group["group"], "count": str(group["count"])},
            "concurrentExceptions": [],
        }
        for group in groups
    ]
    return {"exceptionHistory": {"entries": entries, "truncated": truncated}}


def _millis(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


_SUBTASK_METRICS = (
    ("numRecordsIn", "in_total", 1),
    ("numRecordsOut", "out_total", 1),
    ("numRecordsInPerSecond", "in", 1),
    ("numRecordsOutPerSecond", "out", 1),
    ("busyTimeMsPerSecond", "busy", 1000),
)
"""Flink's name, ours, and what makes ours Flink's."""


def vertex_metrics(subtasks: Sequence[Facts]) -> list[dict[str, str]]:
    """``/jobs/{jid}/vertices/{vid}/metrics``: each of each subtask, ``0.numRecordsIn``."""
    return [
        {"id": f"{subtask['part']}.{name}", "value": _number(subtask[ours] * unit)}
        for subtask in subtasks
        for name, ours, unit in _SUBTASK_METRICS
        if subtask[ours] is not None
    ]


def subtask_metrics(subtasks: Sequence[Facts], wanted: Collection[str] = ()) -> list[dict[str, Any]]:
    """``/jobs/{jid}/vertices/{vid}/subtasks/metrics``: over all subtasks; ``wanted`` are some of them."""
    found = []
    for name, ours, unit in _SUBTASK_METRICS:
        values = [subtask[ours] * unit for subtask in subtasks if subtask[ours] is not None]
        if values:
            all_of_them = {
                "min": min(values),
                "max": max(values),
                "avg": sum(values) / len(values),
                "sum": sum(values),
            }
            found.append(
                {
                    "id": name,
                    **{each: all_of_them[each] for each in AGGREGATES if each in (wanted or AGGREGATES)},
                }
            )
    return found


def _number(value: float) -> str:
    return str(round(value, 3))


def vertex(tick: Facts, plan: Facts, uid: str) -> dict[str, Any]:
    """One vertex of a job, and ``/jobs/{jid}/vertices/{vid}``."""
    node = next(node for node in plan["nodes"] if node["id"] == uid)
    counts = next(each for each in tick["nodes"] if each["id"] == uid)
    return {
        "id": uid,
        "name": node["name"],
        "maxParallelism": plan["max_parallelism"],
        "parallelism": node["parallelism"],
        "status": _state(tick),
        "metrics": {
            "read-records": counts["in_total"],
            "read-records-complete": True,
            "write-records": counts["out_total"],
            "write-records-complete": True,
        },
    }


def back_pressure(tick: Facts, uid: str) -> dict[str, Any]:
    """``/jobs/{jid}/vertices/{vid}/backpressure``: here nothing ever blocks; records wait in a queue."""
    node = next(each for each in tick["nodes"] if each["id"] == uid)
    queueing = node["queueing"]
    level = "ok" if queueing is None or queueing <= _LOW else "low" if queueing <= _HIGH else "high"
    return {
        "status": "ok" if queueing is not None else "deprecated",
        "backpressureLevel": level,
        "backpressure-level": level,
        "end-timestamp": tick["ts"],
        "busyRatio": node["busy"],
        "idleRatio": node["idle"],
        "queueingRatio": queueing,
    }


def checkpoints(tick: Facts, status: Facts) -> dict[str, Any]:
    """``/jobs/{jid}/checkpoints``."""
    snap, last = tick["snap"], status["snapshots"]["last"]
    latest = None
    if last:
        latest = {
            "id": last["epoch"],
            "status": "COMPLETED",
            "is_savepoint": last["kind"] == "savepoint",
            "trigger_timestamp": last["created_ms"],
            "end_to_end_duration": last["duration_ms"],
            "state_size": last["total_bytes"],
            "checkpointed_size": last["new_bytes"],
            "external_path": f"{last['location']}/{last['id']}",
        }
    counts = {
        "restored": int(status["restored"] is not None),
        "total": snap["completed"] + snap["failed"] + int(snap["running"]),
        "in_progress": int(snap["running"]),
        "completed": snap["completed"],
        "failed": snap["failed"],
    }
    return {"counts": counts, "latest": {"completed": latest}, "failure": snap["last_failure"]}


def metrics(tick: Facts) -> list[dict[str, str]]:
    """``/jobs/{jid}/metrics``, by Flink's names where they mean the same."""
    found = {
        "uptime": tick["uptime_s"] * 1000,
        "numRestarts": sum(process["restarts"] for process in tick["procs"]),
        "numberOfCompletedCheckpoints": tick["snap"]["completed"],
        "numberOfFailedCheckpoints": tick["snap"]["failed"],
        "lastCheckpointDuration": tick["snap"]["dur_ms"],
        "lastCheckpointSize": tick["snap"]["bytes"],
    }
    return [{"id": name, "value": str(value)} for name, value in found.items() if value is not None]


def trigger(operation: Facts) -> dict[str, Any]:
    """``/jobs/{jid}/savepoints/{triggerid}``."""
    if operation["state"] not in ("done", "failed"):
        return {"status": {"id": "IN_PROGRESS"}, "operation": None}
    if operation["state"] == "failed":
        return {
            "status": {"id": "COMPLETED"},
            "operation": {"failure-cause": {"class": "", "stack-trace": operation["text"]}},
        }
    result = operation["result"]
    return {"status": {"id": "COMPLETED"}, "operation": {"location": f"{result['location']}/{result['id']}"}}


def _state(tick: Facts) -> str:
    state = tick["state"]
    if state == "degraded":
        return "RESTARTING"
    if state == "unknown":
        return "RECONCILING"
    return (
        "RUNNING"
        if state.startswith(("serving", "drain"))
        else "CREATED"
        if state == "starting"
        else "CANCELLING"
    )

"""What the last minute of ticks shows that is worth a word, each thing for itself. Pure.

A worker is one loop: whoever takes its time is the cause, and all others that run there wait, also those
upstream. So the operator that a saturated worker spends its time in is named, not the one with the queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mini_flink.admin.states import BAD, WARN, Condition
from mini_flink.limits import Limits

MINUTE_MS = 60_000
_GROWTH_TICKS = 5
_WAITS_MS = 100

Ticks = Sequence[Mapping[str, Any]]
DOOR, DISK, SNAPSHOTS, DEAD_LETTERS = "door", "disk", "snapshots", "dead letters"


def conditions(ticks: Ticks, limits: Limits, plan: Mapping[str, Any]) -> Iterator[Condition]:
    """All of them, for the last of ``ticks`` (oldest first, a minute of them or less)."""
    last = ticks[-1]
    names = names_in(plan)
    for process in last["procs"]:
        if process["role"] in ("worker", "gateway", "admin"):
            yield from _of_process(process, limits)
        if process["role"] == "worker":
            yield from _of_work(ticks, process, limits, plan, names)
    for node in last["nodes"]:
        yield from _of_node(ticks, node, limits, plan["request_timeout_ms"], names)
    yield from _of_door(ticks)
    yield from _of_disk(last["disk"], limits)
    yield from _of_snapshots(last["snap"], limits)
    new = last["dlq"]["total"] - _begin(ticks)["dlq"]["total"]
    if new > 0:
        level = BAD if new > limits.dead_letters_bad else WARN
        yield Condition(DEAD_LETTERS, "failing", level, f"{new} new dead letters in the last minute")


def names_in(plan: Mapping[str, Any]) -> dict[str, str]:
    """What operators are called, by id: their names, or the ids of those that share one."""
    common = Counter(node["name"] for node in plan["nodes"])
    return {node["id"]: node["name"] if common[node["name"]] == 1 else node["id"] for node in plan["nodes"]}


def node_of(condition: Condition) -> str | None:
    """The operator that a condition is about."""
    kind, _, id = condition.subject.partition(":")
    return id if kind == "node" else None


# --- processes --------------------------------------------------------------------------------------------


def title(process: Mapping[str, Any]) -> str:
    """``worker 0``."""
    return "the admin process" if process["role"] == "admin" else f"{process['role']} {process['index']}"


def _of_process(process: Mapping[str, Any], limits: Limits) -> Iterator[Condition]:
    subject, who, word = f"proc:{process['id']}", title(process), process["life"]
    because = f" after {process['last_exit']}" if process["last_exit"] else ""
    recent, silent_ms = process["restarts_10m"], process["hb_ms"]
    if recent >= limits.restarts_bad:
        last = f", last by {process['last_exit']}" if process["last_exit"] else ""
        text = f"{who} dies again and again: {recent} times in ten minutes{last}"
        yield Condition(subject, "looping", BAD, text)
    elif recent >= limits.restarts_warn:
        yield Condition(subject, "restarted", WARN, f"{who} was started again{because}")
    if word == "down":
        yield Condition(subject, "down", BAD, f"{who} is down and is being started again{because}")
    elif word in ("starting", "stopping"):
        yield Condition(subject, word, WARN, f"{who} is {word}")
    if silent_ms is not None and silent_ms > limits.silent_ms_warn:
        level = BAD if silent_ms > limits.silent_ms_bad else WARN
        text = f"{who} has not got on for {silent_ms / 1000:.0f} s: one record or commit, or it was stopped"
        yield Condition(subject, "hangs", level, text)


def _of_work(
    ticks: Ticks,
    process: Mapping[str, Any],
    limits: Limits,
    plan: Mapping[str, Any],
    names: Mapping[str, str],
) -> Iterator[Condition]:
    """Whether a worker's time is used up, and by what."""
    found, commit_share = process["busiest"], process["commit_share"] or 0.0
    behind = _behind(ticks, process, limits, plan)
    if commit_share >= limits.commit_share_warn and process["commit_ms"] >= limits.commit_ms_warn:
        text = (
            f"commits are slow: {process['commit_ms']:.0f} ms each, {commit_share:.0%} of the time of "
            f"{title(process)}: the disk under the data folder"
        )
        yield Condition(f"proc:{process['id']}", "slow commits", BAD if behind else WARN, text)
    is_full = (process["busy"] or 0.0) >= limits.busy_bad
    if found is None or not is_full or not behind or commit_share >= found["busy"]:
        return
    last = ticks[-1]
    node = next((each for each in last["nodes"] if each["id"] == found["node"]), None)
    if node is None:
        return
    name = names.get(found["node"], found["node"])
    who = f"subtask {found['part']} of {name}" if _is_skewed(node, limits) else name
    commits = f", commits {commit_share:.0%}" if commit_share >= 0.1 else ""
    text = f"{who} keeps {title(process)} full ({found['busy']:.0%} of its time{commits}); {behind}"
    victims = [names.get(other["id"], other["id"]) for other in last["nodes"] if _waits(other, node, plan)]
    if victims:
        text += f"; {', '.join(victims[:3])} {'wait' if len(victims) > 1 else 'waits'} for it"
    yield Condition(f"node:{found['node']}", "saturated", BAD, text, found["busy"])


def _waiting(records: int) -> str:
    return f"{records} record waits" if records == 1 else f"{records} records wait"


def _behind(ticks: Ticks, process: Mapping[str, Any], limits: Limits, plan: Mapping[str, Any]) -> str:
    """Why a worker does not keep up, in words; empty if it does."""
    last = ticks[-1]
    growth = _growth(ticks, process["id"])
    if growth > 0:
        return f"{_waiting(process['pending'])}, {growth:+.0f}/s"
    oldest_ms = max((node["oldest_ms"] or 0 for node in last["nodes"]), default=0)
    if process["pending"] and oldest_ms >= limits.late_warn * plan["request_timeout_ms"]:
        return f"{_waiting(process['pending'])}, the oldest for {oldest_ms / 1000:.1f} s"
    if process["pending"] and (last["http"]["shed_rate"] or 0) > 0:
        return f"{_waiting(process['pending'])}, and the door refuses more"
    return ""


def _growth(ticks: Ticks, process: str) -> float:
    """Records per second by which what waits in a worker has grown, over the last ticks."""
    known = [
        (tick["ts"], each["pending"])
        for tick in ticks[-_GROWTH_TICKS:]
        for each in tick["procs"]
        if each["id"] == process and each["pending"] is not None
    ]
    if len(known) < 2 or known[-1][0] <= known[0][0]:
        return 0.0
    growth: float = (known[-1][1] - known[0][1]) * 1000 / (known[-1][0] - known[0][0])
    return growth


def _waits(other: Mapping[str, Any], cause: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Whether an operator is one whose records lie before the worker that another one keeps busy."""
    stages = {node["id"]: node["stage"] for node in plan["nodes"]}
    heads_another = stages.get(other["id"]) == other["id"] != stages.get(cause["id"])
    return heads_another and bool(other["queue"]) and (other["oldest_ms"] or 0) >= _WAITS_MS


# --- operators --------------------------------------------------------------------------------------------


def _of_node(
    ticks: Ticks, node: Mapping[str, Any], limits: Limits, deadline_ms: int, names: Mapping[str, str]
) -> Iterator[Condition]:
    subject = f"node:{node['id']}"
    name = names[node["id"]]
    worst = node["worst"]
    if worst is not None and worst["busy"] >= limits.busy_warn:
        queue = f"; {_waiting(node['queue'])} for it" if node["queue"] else ", and keeps up"
        yield Condition(subject, "busy", WARN, f"{name} is {worst['busy']:.0%} busy{queue}", worst["busy"])
    if worst is not None and _is_skewed(node, limits):
        text = (
            f"subtask {worst['part']} of {name} does {node['skew']:.1f} times as much as the mean "
            f"({worst['busy']:.0%} busy): many records have the same key, or few"
        )
        yield Condition(subject, "skewed", WARN, text, node["skew"])
    if deadline_ms and (oldest_ms := node["oldest_ms"] or 0) >= limits.late_warn * deadline_ms:
        level = BAD if oldest_ms >= limits.late_bad * deadline_ms else WARN
        text = (
            f"records have waited for {name} up to {oldest_ms / 1000:.1f} s; "
            f"clients wait {deadline_ms / 1000:g} s"
        )
        yield Condition(subject, "late", level, text, oldest_ms)
    failed, received = _in_a_minute(ticks, node["id"])
    if failed:
        share = failed / max(1, received)
        level = BAD if share > limits.failing_bad else WARN
        text = f"{name} fails: {failed} records in the last minute became dead letters"
        yield Condition(subject, "failing", level, text, share)


def _is_skewed(node: Mapping[str, Any], limits: Limits) -> bool:
    worst = node["worst"]
    return (
        worst is not None and (node["skew"] or 0) >= limits.skew_warn and worst["busy"] >= limits.skewed_busy
    )


def _begin(ticks: Ticks) -> Mapping[str, Any]:
    since = ticks[-1]["ts"] - MINUTE_MS
    return next(tick for tick in ticks if tick["ts"] >= since)


def _in_a_minute(ticks: Ticks, uid: str) -> tuple[int, int]:
    """Records that failed in an operator, and those that came to it."""
    ends = [node for tick in (_begin(ticks), ticks[-1]) for node in tick["nodes"] if node["id"] == uid]
    first, last = ends[0], ends[-1]
    failed, received = (max(0, last[name] - first[name]) for name in ("failed_total", "in_total"))
    return failed, received


# --- the server -------------------------------------------------------------------------------------------


def _of_door(ticks: Ticks) -> Iterator[Condition]:
    http = ticks[-1]["http"]
    lately = [tick["http"]["shed_rate"] or 0.0 for tick in ticks[-_GROWTH_TICKS:]]
    if any(lately):
        shed = sum(lately) / len(lately)
        text = f"the door is at capacity: {shed:.1f} requests/s get 503, {http['inflight']} in flight"
        yield Condition(DOOR, "refusing", BAD, text)
    errors = _answered_in_a_minute(ticks, "err_rate")
    requests = _answered_in_a_minute(ticks, "rps") + _answered_in_a_minute(ticks, "shed_rate")
    if errors:
        level = BAD if errors > 0.01 * requests else WARN
        text = (
            f"{errors} of {max(errors, requests)} requests in the last minute were answered with 500 or above"
        )
        yield Condition(DOOR, "failing", level, text)


def _answered_in_a_minute(ticks: Ticks, rate: str) -> int:
    since = ticks[-1]["ts"] - MINUTE_MS
    count: float = sum(
        (each["http"][rate] or 0.0) * each["dt_ms"] / 1000 for each in ticks if each["ts"] > since
    )
    return round(count)


def _of_disk(disk: Mapping[str, Any], limits: Limits) -> Iterator[Condition]:
    used = disk["used"] or 0.0
    if disk["is_full"]:
        text = "no space is left for the state: the door is closed with 503 until there is"
        yield Condition(DISK, "full", BAD, text)
    elif used >= limits.disk_warn:
        left = f", and full in {_span(disk['full_in_s'])}" if disk["full_in_s"] is not None else ""
        level = BAD if used >= limits.disk_bad else WARN
        yield Condition(DISK, "filling", level, f"the disk of the state is {used:.0%} full{left}")


def _of_snapshots(snap: Mapping[str, Any], limits: Limits) -> Iterator[Condition]:
    failed, age_s, interval_s = snap["failed_in_a_row"], snap["age_s"] or 0, snap["interval_s"]
    if failed:
        level = BAD if failed >= limits.snapshot_failures_bad else WARN
        times = f"{failed} times in a row" if failed > 1 else "last time"
        yield Condition(SNAPSHOTS, "failing", level, f"snapshots fail, {times}: {snap['last_failure']}")
    elif interval_s and age_s > limits.snapshot_age_warn * interval_s:
        level = BAD if age_s > limits.snapshot_age_bad * interval_s else WARN
        yield Condition(SNAPSHOTS, "old", level, f"the last snapshot is {_span(age_s)} old")


def _span(seconds: int) -> str:
    """``40 min``."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

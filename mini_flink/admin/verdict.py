"""One sentence about the server: the worst that is true, and its cause, not who suffers from it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

OK, IDLE, WARN, BAD = "ok", "idle", "warn", "bad"
SATURATED_SHARE = 0.95
BUSY_SHARE = 0.8
SKEW = 2.0
SKEWED_SHARE = 0.5
FAILING_SHARE = 0.01
DISK_WARN, DISK_BAD = 0.8, 0.9
MINUTE_MS = 60_000


class Busiest(NamedTuple):
    """The operator that a worker spends most of its time in."""

    node: str
    part: int
    busy: float


Verdict = dict[str, Any]
Ticks = Sequence[Mapping[str, Any]]


def judge(ticks: Ticks, busiest: Callable[[str], Busiest | None], names: Mapping[str, str]) -> Verdict:
    """The verdict on the last of ``ticks`` (oldest first, a minute of them or less).

    ``busiest`` says of a worker what it is busy with; ``names`` are those of the operators for people.
    """
    for find in (_processes, _storage, _leaving, _saturated, _door, _failing, _snapshots, _skewed, _busy):
        found = next(find(ticks, busiest, names), None)
        if found is not None:
            return found
    return _fine(ticks[-1])


def _verdict(level: str, code: str, text: str, node: str | None = None) -> Verdict:
    return {"level": level, "code": code, "node": node, "text": text}


def _processes(ticks: Ticks, *_: Any) -> Iterator[Verdict]:
    members = [process for process in ticks[-1]["procs"] if process["role"] in ("worker", "gateway")]
    if ticks[-1]["state"] == "stopping":
        return
    for process in members:
        if process["state"] == "looping":
            text = f"{_title(process)} dies again and again: {process['restarts_1h']} times in an hour"
            yield _verdict(BAD, "LOOPING", text + _because(process))
    for process in members:
        if process["state"] == "down":
            text = f"{_title(process)} is down and is being started again"
            yield _verdict(BAD, "DOWN", text + _because(process))


def _because(process: Mapping[str, Any]) -> str:
    return f", last by {process['last_exit']}" if process["last_exit"] else ""


def _title(process: Mapping[str, Any]) -> str:
    return f"{process['role']} {process['index']}"


def _storage(ticks: Ticks, *_: Any) -> Iterator[Verdict]:
    disk = ticks[-1]["disk"]
    if disk["is_full"]:
        text = "no space is left for the state: the door is closed with 503 until there is"
        yield _verdict(BAD, "STORAGE_FULL", text)
    elif disk["used"] is not None and disk["used"] >= DISK_BAD:
        yield _verdict(BAD, "DISK", f"the disk of the state is {disk['used']:.0%} full")


def _leaving(ticks: Ticks, *_: Any) -> Iterator[Verdict]:
    state = ticks[-1]["state"]
    if state == "stopping":
        inflight = ticks[-1]["http"]["inflight"]
        yield _verdict(WARN, state.upper(), f"{state}: nobody is let in, {inflight} requests in flight")
    elif state.startswith("serving ("):
        yield _verdict(WARN, "CHANGING", state)


def _saturated(
    ticks: Ticks, busiest: Callable[[str], Busiest | None], names: Mapping[str, str]
) -> Iterator[Verdict]:
    """Who is upstream of a saturated operator only waits for it: it alone is named."""
    nodes = {node["id"]: node for node in ticks[-1]["nodes"]}
    causes = [
        (found, process)
        for process in ticks[-1]["procs"]
        if (process["busy"] or 0.0) >= SATURATED_SHARE and (found := busiest(process["id"])) is not None
    ]
    for found, process in sorted(causes, key=lambda cause: cause[0].busy, reverse=True):
        growth = _queue_growth(ticks, found.node)
        node = nodes.get(found.node)
        if growth is None or growth <= 0 or node is None:
            continue
        name = names.get(found.node, found.node)
        text = (
            f"{name} takes all the time of {_title(process)} ({found.busy:.0%}); "
            f"{node['queue']} records wait for it, {growth:+.0f}/s"
        )
        yield _verdict(BAD, "SATURATED", text, found.node)


def _queue_growth(ticks: Ticks, uid: str) -> float | None:
    """Records per second by which a queue grows, over the last ticks."""
    known = [
        (tick["ts"], node["queue"])
        for tick in ticks[-5:]
        for node in tick["nodes"]
        if node["id"] == uid and node["queue"] is not None
    ]
    if len(known) < 2 or known[-1][0] <= known[0][0]:
        return None
    growth: float = (known[-1][1] - known[0][1]) * 1000 / (known[-1][0] - known[0][0])
    return growth


def _door(ticks: Ticks, *_: Any) -> Iterator[Verdict]:
    http = ticks[-1]["http"]
    if (http["shed_rate"] or 0) > 0:
        shed, inflight = http["shed_rate"], http["inflight"]
        text = f"the door is at capacity: {shed:.0f} requests/s get 503, {inflight} in flight"
        yield _verdict(BAD, "DOOR_FULL", text)


def _failing(ticks: Ticks, _: Any, names: Mapping[str, str]) -> Iterator[Verdict]:
    failing = []
    for node in ticks[-1]["nodes"]:
        failed, received = _in_a_minute(ticks, node["id"])
        if failed:
            failing.append((failed / max(1, received), failed, node["id"]))
    for share, failed, uid in sorted(failing, reverse=True):
        level = BAD if share > FAILING_SHARE else WARN
        text = f"{names.get(uid, uid)} fails: {failed} records in the last minute became dead letters"
        yield _verdict(level, "FAILING", text, uid)
    new = ticks[-1]["dlq"]["total"] - ticks[0]["dlq"]["total"]
    if new > 0:
        yield _verdict(WARN, "DEAD_LETTERS", f"{new} new dead letters in the last minute")


def _in_a_minute(ticks: Ticks, uid: str) -> tuple[int, int]:
    """Records that failed in an operator, and those that came to it."""
    since = ticks[-1]["ts"] - MINUTE_MS
    ends = [
        node
        for tick in (next(tick for tick in ticks if tick["ts"] >= since), ticks[-1])
        for node in tick["nodes"]
        if node["id"] == uid
    ]
    first, last = ends[0], ends[-1]
    failed, received = (max(0, last[name] - first[name]) for name in ("failed_total", "in_total"))
    return failed, received


def _snapshots(ticks: Ticks, *_: Any) -> Iterator[Verdict]:
    snap = ticks[-1]["snap"]
    if snap["failed_in_a_row"]:
        level = BAD if snap["failed_in_a_row"] >= 2 else WARN
        times = f"{snap['failed_in_a_row']} times in a row" if snap["failed_in_a_row"] > 1 else "last time"
        yield _verdict(level, "SNAPSHOTS", f"snapshots fail, {times}: {snap['last_failure']}")
    elif snap["interval_s"] and (snap["age_s"] or 0) > 2 * snap["interval_s"]:
        level = BAD if snap["age_s"] > 5 * snap["interval_s"] else WARN
        yield _verdict(level, "SNAPSHOTS", f"the last snapshot is {snap['age_s']} s old")


def _skewed(ticks: Ticks, _: Any, names: Mapping[str, str]) -> Iterator[Verdict]:
    for node in ticks[-1]["nodes"]:
        if (node["skew"] or 0) >= SKEW and node["worst"]["busy"] >= SKEWED_SHARE:
            text = (
                f"subtask {node['worst']['part']} of {names.get(node['id'], node['id'])} does "
                f"{node['skew']:.1f} times as much as the mean ({node['worst']['busy']:.0%} busy)"
            )
            yield _verdict(WARN, "SKEWED", text, node["id"])


def _busy(ticks: Ticks, _: Any, names: Mapping[str, str]) -> Iterator[Verdict]:
    worst = [node for node in ticks[-1]["nodes"] if node["worst"] and node["worst"]["busy"] >= BUSY_SHARE]
    for node in sorted(worst, key=lambda one: one["worst"]["busy"], reverse=True):
        text = f"{names.get(node['id'], node['id'])} is {node['worst']['busy']:.0%} busy, and keeps up"
        yield _verdict(WARN, "BUSY", text, node["id"])
    used = ticks[-1]["disk"]["used"]
    if used is not None and used >= DISK_WARN:
        yield _verdict(WARN, "DISK", f"the disk of the state is {used:.0%} full")


def _fine(tick: Mapping[str, Any]) -> Verdict:
    http = tick["http"]
    if tick["state"] == "starting" or http["rps"] is None:
        return _verdict(IDLE, "STARTING", "the first second is being measured")
    if http["rps"] == 0 and http["inflight"] == 0:
        return _verdict(IDLE, "IDLE", "ready; no requests at present")
    p99 = "" if http["p99_us"] is None else f", 99 % within {http['p99_us'] / 1000:.1f} ms"
    return _verdict(OK, "OK", f"all is well: {http['rps']:.0f} requests/s{p99}")

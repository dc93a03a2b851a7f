"""One sentence about the server: the worst that holds, and its cause, not who suffers from it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mini_flink.admin import conditions
from mini_flink.admin.conditions import node_of
from mini_flink.admin.states import BAD, IDLE, OK, WARN, Condition

Verdict = dict[str, Any]
Holding = Mapping[str, Sequence[Condition]]

_PROCESS, _NODE = "proc", "node"
_IN_ORDER: Sequence[tuple[str, str, str]] = (
    (_PROCESS, "looping", "LOOPING"),
    (_PROCESS, "down", "DOWN"),
    (_PROCESS, "hangs", "HANGS"),
    (conditions.DISK, "full", "STORAGE_FULL"),
    (_PROCESS, "slow commits", "SLOW_COMMITS"),
    (_NODE, "saturated", "SATURATED"),
    (conditions.DOOR, "refusing", "DOOR_FULL"),
    (_NODE, "failing", "FAILING"),
    (conditions.DOOR, "failing", "ERRORS"),
    (conditions.DEAD_LETTERS, "failing", "DEAD_LETTERS"),
    (conditions.DISK, "filling", "DISK"),
    (conditions.SNAPSHOTS, "failing", "SNAPSHOTS"),
    (conditions.SNAPSHOTS, "old", "SNAPSHOTS"),
    (_NODE, "skewed", "SKEWED"),
    (_NODE, "late", "LATE"),
    (_NODE, "busy", "BUSY"),
)
"""What is said first if several hold: what stops the server, what slows it, what it loses, what may come."""
_STOPPED = ("LOOPING", "DOWN", "HANGS", "STORAGE_FULL")


def judge(tick: Mapping[str, Any], holding: Holding) -> Verdict:
    """The verdict on a tick, of which ``holding`` holds."""
    found = list(_found(holding))
    leaving = _leaving(tick)
    stopped = [verdict for verdict in found if verdict["code"] in _STOPPED]
    if tick["state"] == "stopping" and leaving:
        return leaving
    if stopped:
        return stopped[0]
    if leaving:
        return leaving
    # What is red comes before what is amber, whatever it is.
    return next((each for each in found if each["level"] == BAD), found[0]) if found else _fine(tick)


def _found(holding: Holding) -> Iterator[Verdict]:
    all_of_them = sorted(
        (each for several in holding.values() for each in several), key=lambda each: -each.weight
    )
    for kind, word, code in _IN_ORDER:
        for each in all_of_them:
            is_own = each.subject.partition(":")[0] == kind
            # The death of the admin process hurts nobody else.
            if is_own and each.word == word and each.subject != "proc:admin":
                # Where records wait is seldom what they wait for.
                yield _verdict(each.level, code, each.why, None if word == "late" else node_of(each))


def _verdict(level: str, code: str, text: str, node: str | None = None) -> Verdict:
    return {"level": level, "code": code, "node": node, "text": text}


def _leaving(tick: Mapping[str, Any]) -> Verdict | None:
    state, inflight = tick["state"], tick["http"]["inflight"]
    if state in ("stopping", "draining"):
        return _verdict(WARN, state.upper(), f"{state}: nobody is let in, {inflight} requests in flight")
    if state.startswith("drained"):
        return _verdict(WARN, "DRAINED", f"{state}: nobody is let in until it is resumed")
    if state.startswith("serving ("):
        return _verdict(WARN, "CHANGING", state)
    return None


def _fine(tick: Mapping[str, Any]) -> Verdict:
    http = tick["http"]
    if tick["state"] == "starting" or http["rps"] is None:
        return _verdict(IDLE, "STARTING", "the first second is being measured")
    if http["rps"] == 0 and http["inflight"] == 0:
        return _verdict(IDLE, "IDLE", f"ready; no requests at present{_left(tick)}")
    p99 = "" if http["p99_us"] is None else f", 99 % within {http['p99_us'] / 1000:.1f} ms"
    return _verdict(OK, "OK", f"all is well: {http['rps']:.0f} requests/s{p99}{_left(tick)}")


def _left(tick: Mapping[str, Any]) -> str:
    """Dead letters that wait for somebody; nothing of them hurts now."""
    present = tick["dlq"]["present"]
    if not present:
        return ""
    return "; 1 dead letter is left" if present == 1 else f"; {present} dead letters are left"

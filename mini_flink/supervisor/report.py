"""What ``status`` shows: the supervisor's members and their progress pages as plain data."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from mini_flink.metrics import beside
from mini_flink.progress import COUNTERS_OF, GATEWAY_COUNTERS
from mini_flink.supervisor.admin import AdminKeeper
from mini_flink.supervisor.events import EventRing
from mini_flink.supervisor.members import READY, STARTING, STOPPING, Member
from mini_flink.supervisor.spec import ServerPlan


def total(members: Iterable[Member], counter: str) -> int:
    """One counter or gauge over several processes."""
    return sum(member.page.counter(counter) for member in members)


def ever(members: Iterable[Member], retired: Iterable[Member]) -> list[Member]:
    """Whoever has counted something in this run: also those whom a rescale or an upgrade has replaced.

    A later member in the slot of an earlier one goes on with its page, which then counts once.
    """
    return [*{member.page_path: member for member in (*retired, *members)}.values()]


def pending_requests(members: Iterable[Member]) -> int:
    """Requests that clients wait for, at gateways that are there."""
    return total((member for member in members if member.role == "gateway" and member.running), "pending")


def build_report(
    plan: ServerPlan,
    members: Sequence[Member],
    retired: Sequence[Member],
    *,
    state: str,
    url: str,
    incarnation: int,
    uptime_ms: int,
    snapshots: dict[str, Any],
    restored: dict[str, str] | None,
    admin: AdminKeeper | None,
    events: EventRing,
    last_failure: dict[str, Any] | None,
) -> dict[str, Any]:
    """One object with stable names: the reply to a status request."""
    everybody = ever(members, retired)
    return {
        "job": plan.job_name,
        "state": state,
        "url": url,
        "data_dir": plan.data_dir,
        "durability": plan.settings.durability,
        "uptime_ms": uptime_ms,
        "pending": pending_requests(members),
        "processes": [
            _supervisor(incarnation, state),
            *(_process(member) for member in members),
            *([admin.report()] if admin else []),
        ],
        "totals": _totals(everybody),
        "operators": _operators(plan, everybody),
        "snapshots": snapshots,
        "restored": restored,
        "admin_url": admin.url if admin else None,
        "events": events.report(),
        "last_failure": last_failure,
        "plan": _plan(plan),
    }


def _totals(everybody: Iterable[Member]) -> dict[str, int]:
    """What all gateways of this run have counted."""
    gateways = [member for member in everybody if member.role == "gateway"]
    return {name: total(gateways, name) for name in GATEWAY_COUNTERS}


def _plan(plan: ServerPlan) -> dict[str, Any]:
    """What the job's picture is drawn from; it changes with a rescale or an upgrade."""
    return {
        "fingerprint": plan.fingerprint,
        "numbers": dict(plan.numbers),
        "parallelisms": dict(plan.parallelisms),
        "workers": plan.workers,
        "gateways": plan.gateways,
        "max_parallelism": plan.max_parallelism,
        "generation": plan.generation,
        "locations": dict(plan.locations),
        "key_names": dict(plan.key_names),
        "request_timeout_ms": plan.settings.request_timeout_ms,
        "pending_capacity": plan.settings.pending_capacity,
    }


def own_state(state: str) -> str:
    """The supervisor's among its processes: it is there, whatever becomes of the others.

    >>> own_state("degraded"), own_state("stopping")
    ('ready', 'stopping')
    """
    return state if state in (STARTING, STOPPING) else READY


def _supervisor(incarnation: int, state: str) -> dict[str, Any]:
    return {
        "role": "supervisor",
        "index": 0,
        "pid": os.getpid(),
        "restarts": 0,
        "incarnation": incarnation,
        "state": own_state(state),
        "last_exit": "",
        "metrics": "",
        "counters": {},
        "silent_ms": None,
    }


def _process(member: Member) -> dict[str, Any]:
    counters = member.page.counters()
    return {
        "role": member.role,
        "index": member.index,
        "pid": member.pid,
        "restarts": member.policy.restarts,
        "incarnation": member.incarnation,
        "state": member.state,
        "last_exit": member.last_exit,
        "metrics": beside(member.page_path),
        "counters": {name: counters[name] for name in COUNTERS_OF[member.role]},
        "silent_ms": _silent_ms(member, time.monotonic_ns()),
    }


def _silent_ms(member: Member, now_ns: int) -> int | None:
    """How long a process has been at one record or commit, or stopped; None: it sleeps, or it works on.

    An idle process publishes nothing, and need not: it has nothing to get on with.
    """
    entry = member.page.entry() if member.page.incarnation() == member.incarnation else None
    since = [entry.since_ns] if entry is not None else []
    if member.watch.stopped_since_ns is not None:
        since.append(member.watch.stopped_since_ns)
    if not member.running or not since:
        return None
    return max(0, now_ns - min(since)) // 1_000_000


def _operators(plan: ServerPlan, members: Sequence[Member]) -> list[dict[str, Any]]:
    uids = {number: uid for uid, number in plan.numbers.items()}
    return [_operator(uids[number], name, number, members) for number, name in plan.operator_names.items()]


def _operator(uid: str, name: str, number: int, members: Sequence[Member]) -> dict[str, Any]:
    counts = [member.page.operator(number) for member in members]
    return {
        "uid": uid,
        "name": name,
        "in": sum(each.received for each in counts),
        "out": sum(each.emitted for each in counts),
        "failed": sum(each.failed for each in counts),
    }

"""Which words hold, when they begin and end, and what the verdict says is the cause. Tables, no process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from mini_flink.admin.conditions import conditions
from mini_flink.admin.states import BAD, WARN, Condition, States, label
from mini_flink.admin.verdict import judge
from mini_flink.errors import ConfigError
from mini_flink.limits import ENTER_TICKS, LEAVE_TICKS, Limits

DEADLINE_MS = 10_000
HEALTH = ("door", "disk", "snapshots", "dead letters")


def plan(*stages: str, chained: dict[str, str] | None = None) -> dict[str, Any]:
    """Operators that each head a stage, and those that are ``chained`` behind a head."""
    heads = {uid: uid for uid in stages} | (chained or {})
    nodes = [{"id": uid, "name": uid.capitalize(), "stage": head} for uid, head in heads.items()]
    return {"nodes": [{"id": "in", "name": "In", "stage": None}, *nodes], "request_timeout_ms": DEADLINE_MS}


def node(id: str, **more: Any) -> dict[str, Any]:
    known = {"id": id, "state": "ok", "level": "ok", "why": "", "worst": None, "skew": None, "queue": 0}
    return {**known, "oldest_ms": 0, "queueing": 0.0, "failed_total": 0, "in_total": 1000, **more}


def busy(share: float, part: int = 0, skew: float = 1.0) -> dict[str, Any]:
    return {"worst": {"part": part, "busy": share}, "skew": skew}


def proc(id: str, **more: Any) -> dict[str, Any]:
    role = {"w": "worker", "g": "gateway"}[id[0]]
    known = {
        "id": id,
        "role": role,
        "index": int(id[1:]),
        "life": "ok",
        "state": "ok",
        "level": "ok",
        "why": "",
    }
    work = {"busy": 0.1, "busiest": None, "commit_ms": 0.2, "commit_share": 0.01, "pending": 0}
    return {**known, "last_exit": None, "restarts_10m": 0, "hb_ms": None, **work, **more}


def works_on(uid: str, share: float, pending: int = 0, part: int = 0) -> dict[str, Any]:
    """A worker whose time is used up."""
    return {"busy": 1.0, "busiest": {"node": uid, "part": part, "busy": share}, "pending": pending}


def tick(second: int, nodes: Iterable[dict[str, Any]], procs: Iterable[dict[str, Any]], **more: Any) -> Any:
    http = {
        "rps": 100.0,
        "err_rate": 0.0,
        "shed_rate": 0.0,
        "inflight": 3,
        "p99_us": 900,
        **more.pop("http", {}),
    }
    snap = {"failed_in_a_row": 0, "age_s": 10, "interval_s": 60, "last_failure": None, **more.pop("snap", {})}
    disk = {"used": 0.3, "is_full": False, "full_in_s": None, **more.pop("disk", {})}
    known = {"ts": second * 1000, "dt_ms": 1000, "state": "serving", "http": http, "snap": snap, "disk": disk}
    return {**known, "dlq": {"total": 0, "present": 0}, "nodes": list(nodes), "procs": list(procs), **more}


def run(drawn: dict[str, Any], ticks: list[Any]) -> Any:
    """The last tick, with its words and its verdict."""
    states = States()
    for end in range(1, len(ticks) + 1):
        holding = states.step(conditions(ticks[:end][-61:], Limits(), drawn))
    label(ticks[-1], holding)
    ticks[-1]["verdict"] = judge(ticks[-1], holding)
    return ticks[-1]


def steady(drawn: dict[str, Any], make: Any, seconds: int = 10) -> Any:
    return run(drawn, [make(second) for second in range(seconds)])


# --- words that do not flicker ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "shown"),
    [
        ("1" * 4, False),
        ("1" * ENTER_TICKS, True),
        ("1111011110", False),
        ("11111" + "0" * (LEAVE_TICKS - 1), True),
        ("11111" + "0" * LEAVE_TICKS, False),
        ("11111" + "0" * 14 + "1" + "0" * 14, True),
        ("", False),
    ],
)
def test_a_word_holds_after_five_ticks_and_until_fifteen_without(held: str, shown: bool) -> None:
    states, holding = States(), {}
    for each in held:
        condition = Condition("node:a", "busy", WARN, "it is busy")
        holding = states.step([condition] if each == "1" else [])
    assert bool(holding) is shown


def test_what_is_no_matter_of_degree_holds_at_once_and_ends_at_once() -> None:
    states = States()
    down = Condition("proc:w0", "down", BAD, "worker 0 is down")
    assert states.step([down]) == {"proc:w0": [down]}
    assert states.step([]) == {}


def test_the_worst_of_a_subject_comes_first_with_its_latest_reason() -> None:
    states, holding = States(), {}
    for second in range(ENTER_TICKS):
        several = [
            Condition("node:a", "busy", WARN, "busy"),
            Condition("node:a", "saturated", BAD, f"{second}"),
        ]
        holding = states.step(several)
    assert [(each.word, each.why) for each in holding["node:a"]] == [("saturated", "4"), ("busy", "busy")]


@pytest.mark.parametrize(
    ("fault", "subject", "word", "level"),
    [
        ({"node": busy(0.79)}, "a", "ok", "ok"),
        ({"node": busy(0.8)}, "a", "busy", WARN),
        ({"node": {"oldest_ms": 2499}}, "a", "ok", "ok"),
        ({"node": {"oldest_ms": 2500}}, "a", "late", WARN),
        ({"node": {"oldest_ms": 7500}}, "a", "late", BAD),
        ({"node": busy(0.6, skew=2.1)}, "a", "skewed", WARN),
        ({"node": busy(0.4, skew=2.1)}, "a", "ok", "ok"),
        ({"proc": {"restarts_10m": 1}}, "w0", "restarted", WARN),
        ({"proc": {"restarts_10m": 3}}, "w0", "looping", BAD),
        ({"proc": {"hb_ms": 1900}}, "w0", "ok", "ok"),
        ({"proc": {"hb_ms": 2100}}, "w0", "hangs", WARN),
        ({"proc": {"hb_ms": 5100}}, "w0", "hangs", BAD),
        ({"proc": {"life": "down"}}, "w0", "down", BAD),
        ({"proc": {"commit_share": 0.7, "commit_ms": 40.0}}, "w0", "slow commits", WARN),
        ({"proc": {"commit_share": 0.7, "commit_ms": 0.4}}, "w0", "ok", "ok"),
        ({"disk": {"used": 0.8}}, "disk", "filling", WARN),
        ({"disk": {"used": 0.95}}, "disk", "filling", BAD),
        ({"disk": {"is_full": True}}, "disk", "full", BAD),
        ({"snap": {"age_s": 121}}, "snapshots", "old", WARN),
        ({"snap": {"age_s": 301}}, "snapshots", "old", BAD),
        ({"snap": {"failed_in_a_row": 1}}, "snapshots", "failing", WARN),
        ({"snap": {"failed_in_a_row": 2}}, "snapshots", "failing", BAD),
        ({"http": {"shed_rate": 2.0}}, "door", "refusing", BAD),
        ({"http": {"err_rate": 0.5}}, "door", "failing", WARN),
        ({"http": {"err_rate": 2.0}}, "door", "failing", BAD),
    ],
)
def test_each_limit_has_its_word(fault: dict[str, Any], subject: str, word: str, level: str) -> None:
    server = {name: value for name, value in fault.items() if name not in ("node", "proc")}

    def make(second: int) -> Any:
        nodes = [node("a", **fault.get("node", {}))]
        return tick(second, nodes, [proc("w0", **fault.get("proc", {}))], **server)

    one = steady(plan("a"), make)
    shown = {
        each["id"]: (each["state"], each["level"]) for each in [*one["nodes"], *one["procs"], *one["health"]]
    }
    assert shown[subject] == (word, level)
    others = {id: each for id, each in shown.items() if id != subject}
    assert set(others.values()) <= {("ok", "ok")}


def test_errors_at_the_door_are_told_as_a_count_that_agrees_with_the_requests() -> None:
    def made(second: int) -> Any:
        return tick(second, [], [], http={"rps": 140.0, "err_rate": 3.0 if 50 <= second < 60 else 0.0})

    last = steady(plan(), made, 90)
    assert last["verdict"]["text"] == "30 of 8400 requests in the last minute were answered with 500 or above"
    assert last["verdict"]["level"] == WARN


@pytest.mark.parametrize(("failed", "level"), [(1, WARN), (20, BAD)])
def test_failures_of_the_last_minute_count(failed: int, level: str) -> None:
    def make(second: int) -> Any:
        count = failed if second else 0
        return tick(second, [node("a", failed_total=count, in_total=1000 + second * 100)], [proc("w0")])

    one = steady(plan("a"), make)
    assert (one["nodes"][0]["state"], one["nodes"][0]["level"]) == ("failing", level)
    assert (one["verdict"]["code"], one["verdict"]["node"]) == ("FAILING", "a")
    later = steady(plan("a"), make, 61 + LEAVE_TICKS + 1)
    assert later["nodes"][0]["state"] == "ok"


# --- causes -----------------------------------------------------------------------------------------------

ADMIN = {**proc("g0", restarts_10m=3), "id": "admin", "role": "admin"}
CHAIN = plan("parse", "enrich", "fraud", "decide")
FAN = plan("split", "left", "right", "join")


def waits(id: str, queue: int) -> dict[str, Any]:
    return node(id, queue=queue, oldest_ms=400, **busy(0.02))


CAUSES = {
    "a slow operator behind others, on one worker: records wait before those upstream": (
        CHAIN,
        lambda s: ([waits("parse", 99 * s), node("enrich", queue=1), node("fraud", **busy(0.94))],
                   [proc("w0", **works_on("fraud", 0.94, 100 * s))]),
        "SATURATED", "fraud", "worker 0 full (94% of its time); 900 records wait, +100/s; Parse waits for it",
    ),
    "fan-out: one branch is slow, the other waits for it": (
        FAN,
        lambda s: ([waits("split", 50 * s), node("left", **busy(0.96)), waits("right", 9), node("join")],
                   [proc("w0", **works_on("left", 0.96, 50 * s))]),
        "SATURATED", "left", "Split, Right wait for it",
    ),
    "fan-in: the join is slow": (
        FAN,
        lambda s: ([node("split"), waits("left", 9), waits("right", 9), node("join", queue=9, **busy(0.97))],
                   [proc("w0", **works_on("join", 0.97, 90 * s))]),
        "SATURATED", "join", "Left, Right wait for it",
    ),
    "two workers are full of two operators: the one that takes more": (
        CHAIN,
        lambda s: ([node("parse", **busy(0.6)), node("enrich"), node("fraud", **busy(0.97)), node("decide")],
                   [proc("w0", **works_on("parse", 0.6, s)), proc("w1", **works_on("fraud", 0.97, s))]),
        "SATURATED", "fraud", "keeps worker 1 full (97% of its time)",
    ),
    "a stage that sends to itself: its records wait in the same worker": (
        plan("loop"),
        lambda s: ([node("loop", queue=10 * s, queueing=0.99, **busy(0.99))],
                   [proc("w0", **works_on("loop", 0.99, 10 * s))]),
        "SATURATED", "loop", "+10/s",
    ),
    "one hot partition": (
        CHAIN,
        lambda s: ([node("parse"), node("enrich"), node("fraud", queue=9 * s, **busy(0.98, part=5, skew=3.9)),
                    node("decide")],
                   [proc("w0", **works_on("fraud", 0.98, 9 * s, part=5)), proc("w1", busy=0.2)]),
        "SATURATED", "fraud", "subtask 5 of Fraud keeps worker 0 full",
    ),
    "a hot partition that keeps up": (
        CHAIN,
        lambda s: ([node("fraud", **busy(0.7, part=5, skew=3.9))], [proc("w0", busy=0.75)]),
        "SKEWED", "fraud", "subtask 5 of Fraud does 3.9 times as much as the mean",
    ),
    "busy and keeping up": (
        CHAIN,
        lambda s: ([node("fraud", **busy(0.96))], [proc("w0", **works_on("fraud", 0.96, 0))]),
        "BUSY", "fraud", "and keeps up",
    ),
    "a door at its capacity, and nobody busy": (
        CHAIN,
        lambda s: ([node("fraud")], [proc("w0")], {"http": {"shed_rate": 40.0, "inflight": 1024}}),
        "DOOR_FULL", None, "40.0 requests/s get 503, 1024 in flight",
    ),
    "a door at its capacity because an operator is slow; what waits does not grow any more": (
        CHAIN,
        lambda s: ([node("fraud", **busy(0.99))], [proc("w0", **works_on("fraud", 0.99, 900))],
                   {"http": {"shed_rate": 40.0, "inflight": 1024}}),
        "SATURATED", "fraud", "900 records wait, and the door refuses more",
    ),
    "a full disk": (
        CHAIN,
        lambda s: ([node("fraud")], [proc("w0", pending=10 * s)], {"disk": {"is_full": True, "used": 1.0}}),
        "STORAGE_FULL", None, "no space is left",
    ),
    "a dead worker": (
        CHAIN,
        lambda s: ([node("fraud")], [proc("w0", life="down", last_exit="SIGKILL"), proc("w1")]),
        "DOWN", None, "worker 0 is down and is being started again after SIGKILL",
    ),
    "slow commits": (
        CHAIN,
        lambda s: ([waits("parse", 30 * s), node("fraud", **busy(0.05))],
                   [proc("w0", commit_ms=40.0, commit_share=0.9, **works_on("fraud", 0.05, 30 * s))]),
        "SLOW_COMMITS", None, "commits are slow: 40 ms each, 90% of the time of worker 0: the disk",
    ),
    "a rescale": (
        CHAIN,
        lambda s: ([node("fraud", **busy(0.9))], [proc("w0")], {"state": "serving (rescale: copy)"}),
        "CHANGING", None, "rescale",
    ),
    "the admin process has died: nobody else is hurt": (
        CHAIN,
        lambda s: ([node("fraud")], [proc("w0"), ADMIN]),
        "OK", None, "all is well",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
def test_the_verdict_names_the_cause_not_its_victims(name: str) -> None:
    drawn, scene, code, cause, words = CAUSES[name]

    def make(second: int) -> Any:
        nodes, procs, *more = scene(second)
        return tick(second, nodes, procs, **(more[0] if more else {}))

    verdict = steady(drawn, make)["verdict"]
    assert (verdict["code"], verdict["node"]) == (code, cause), verdict["text"]
    assert words in verdict["text"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"state": "stopping"}, "STOPPING"),
        ({"state": "draining"}, "DRAINING"),
        ({"state": "drained"}, "DRAINED"),
        ({"http": {"rps": 0.0, "inflight": 0}}, "IDLE"),
        ({"http": {"rps": None}}, "STARTING"),
        ({"state": "starting"}, "STARTING"),
        ({}, "OK"),
    ],
)
def test_without_trouble_the_verdict_says_what_goes_on(more: dict[str, Any], code: str) -> None:
    assert steady(CHAIN, lambda s: tick(s, [node("fraud")], [proc("w0")], **more))["verdict"]["code"] == code


@pytest.mark.parametrize(
    ("present", "words"),
    [(0, "at present"), (1, "; 1 dead letter is left"), (464, "; 464 dead letters are left")],
)
def test_dead_letters_that_are_left_are_told_when_nothing_else_is_wrong(present: int, words: str) -> None:
    dlq = {"total": present, "present": present}

    def idle(second: int) -> Any:
        return tick(second, [node("fraud")], [proc("w0")], http={"rps": 0.0, "inflight": 0}, dlq=dlq)

    verdict = steady(CHAIN, idle)["verdict"]
    assert verdict["code"] == "IDLE"
    assert verdict["text"].endswith(words)


def test_everything_that_has_a_word_is_a_word_of_the_server() -> None:
    one = steady(
        CHAIN, lambda s: tick(s, [node("fraud")], [proc("w0")], disk={"used": 0.99}, snap={"age_s": 900})
    )
    assert {each["id"] for each in one["health"]} == {"disk", "snapshots"} < set(HEALTH)


def test_limits_are_changed_by_name_and_a_mistake_is_told() -> None:
    changed = Limits.read("busy_warn=0.5, disk_bad=0.99")
    assert (changed.busy_warn, changed.disk_bad, changed.busy_bad) == (0.5, 0.99, Limits().busy_bad)
    assert Limits.read(None) == Limits.read("") == Limits()
    found = [node("a", **busy(0.6))]
    states = States()
    for second in range(ENTER_TICKS):
        holding = states.step(conditions([tick(second, found, [proc("w0")])], changed, plan("a")))
    assert [each.word for each in holding["node:a"]] == ["busy"]
    for wrong in ("busy=1", "busy_warn", "busy_warn=x", "busy_warn=-1", "busy_warn=nan"):
        with pytest.raises(ConfigError):
            Limits.read(wrong)

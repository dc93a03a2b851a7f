"""Crashes at every step of a rescale: it is done at another attempt, or the server goes on as it was.

Who dies is chosen by crash points that are armed one after another, or at random, under the load of clients
whose requests must all be answered, except those of a gateway that dies itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mini_flink.asking import RefusedError, UnavailableError, ask
from mini_flink.errors import EXIT_INTERNAL, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE
from tests.e2e import ledgers
from tests.e2e.commands import Points, Running, children, kill_everything, run
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import Server
from tests.e2e.test_rescale import LEDGER, PATIENT, check, put_load_on, workers

CRASHES = (
    "w0@after_track",
    "resharder@mid_copy",
    "w0@after_tail",
    "resharder@mid_build",
    "w2@during_recovery",
)
"""Old workers, the resharder, and one that is new when two become three."""
RELEASED = "w3@after_log_write"
GATEWAYS = ("g0@after_hold", "g1@before_release")
SWITCHED = "supervisor@after_switch"


def at_phase(server: Server, phase: str, number: int, act: Callable[[], object]) -> str:
    """Ask for a rescale, and do something as soon as it comes to ``phase``; why it came to nothing, or ""."""

    def heard(told: Mapping[str, Any]) -> None:
        if told.get("phase") == phase:
            act()

    try:
        ask(str(server.data_dir), "rescale", {"workers": number, "parallelisms": {}}, heard)
    except (RefusedError, UnavailableError) as error:
        return error.message
    return ""


def test_workers_and_the_resharder(serve: Serve, tmp_path: Path) -> None:
    points = Points(tmp_path / "points", *CRASHES, RELEASED)
    server = serve(LEDGER, *PATIENT, environment=points.environment).start("--workers", "2")
    load = put_load_on(server)
    number = 2
    for point in CRASHES:
        load.until_done(50)
        points.arm(point)
        number = 5 - number
        done = run(server, "rescale", "--workers", str(number), "--json")
        assert points.fired(point)
        assert (done.code, done.json()["attempts"]) == (0, 2), point
        assert workers(server) == ["ready"] * number
    points.arm(RELEASED)
    since = server.mark()
    assert run(server, "rescale", "--workers", "4").code == 0
    server.until_back("worker", 3, since)
    assert points.fired(RELEASED)
    load.until_done(50)
    check(server, load.stop())
    assert server.stop() == 0


def test_an_old_worker_that_stands_still(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT).start("--workers", "2")
    load = put_load_on(server)
    load.until_done(50)
    victim = server.pid("worker", 1)

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):  # the first attempt's
            os.kill(victim, signal.SIGKILL)

    assert at_phase(server, "start", 3, kill) == ""
    load.until_done(50)
    check(server, load.stop())
    assert workers(server) == ["ready"] * 3
    assert server.stop() == 0


def test_gateways(serve: Serve, tmp_path: Path) -> None:
    points = Points(tmp_path / "points", *GATEWAYS)
    server = serve(LEDGER, *PATIENT, "--gateways", "2", environment=points.environment).start(
        "--workers", "2"
    )
    load = put_load_on(server)
    load.until_done(50)
    for point in GATEWAYS:
        points.arm(point)
    assert run(server, "rescale", "--workers", "3").code == 0
    assert all(map(points.fired, GATEWAYS))
    load.until_done(50)
    exchanges = load.stop()
    lost = sum(exchange.lost for exchange in exchanges)
    assert 0 < lost <= 2 * len(load.exchanges), "each chain is cut at most once by each of two gateways"
    assert all(exchange.ok or exchange.lost for exchange in exchanges)
    assert load.refused == 0
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


def test_anybody_but_gateways_at_any_moment(serve: Serve) -> None:
    rng = Random(f"rescale {SEED}")
    server = serve(LEDGER, *PATIENT).start("--workers", "2")
    load = put_load_on(server)
    done = kills = 0
    for number in (3, 1, 2):
        load.until_done(50)
        command = Running(server, "rescale", "--workers", str(number))
        for _ in range(2):
            time.sleep(rng.uniform(0.2, 1.5))
            victims = [pid for pid, title in children(server).items() if "gateway" not in title]
            if command.runs:
                kills += 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(victims), signal.SIGKILL)
        ended = command.wait()
        assert ended.code in (0, EXIT_INTERNAL)
        done += ended.code == 0
        server.until_status(lambda status: status["state"] == "serving", "an end of the rescale")
    print(f"{done} of 3 rescales done, {kills} kills")
    load.until_done(50)
    check(server, load.stop())
    assert server.stop() == 0


def test_everything(serve: Serve, tmp_path: Path) -> None:
    points = Points(tmp_path / "points", SWITCHED)
    server = serve(LEDGER, *PATIENT, environment=points.environment).start("--workers", "2")
    load = put_load_on(server)
    number = 2
    for phase in ("finish", "start", "release"):
        load.until_done(50)
        reason = at_phase(server, phase, 5 - number, lambda: kill_everything(server))
        assert reason or phase == "release"
        server.start()
        known = len(workers(server))
        possible = {"start": {number, 5 - number}, "release": {5 - number}}
        assert known in possible.get(phase, {number})
        number = known
    load.until_done(50)
    points.arm(SWITCHED)
    assert run(server, "rescale", "--workers", str(5 - number)).code == EXIT_UNAVAILABLE
    server.wait()
    server.start()
    assert workers(server) == ["ready"] * (5 - number)
    load.until_done(50)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} == {0, 200}
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


@pytest.mark.parametrize("phase", ["hold", "start"])
def test_told_to_stop(serve: Serve, phase: str) -> None:
    server = serve(LEDGER, *PATIENT).start("--workers", "2")
    load = put_load_on(server)
    load.until_done(100)
    reason = at_phase(server, phase, 3, server.process.terminate)
    assert server.wait() == 0
    assert "stop" in reason or "ended" in reason
    server.start()
    assert len(workers(server)) == 2
    load.until_done(100)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} <= {0, 200}
    assert ledgers.problems(server.url, exchanges) == []
    assert server.stop() == 0


def test_one_at_a_time_and_none_without_a_server(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT).start("--workers", "1")
    refused: list[int] = []
    second = lambda: refused.append(run(server, "rescale", "--workers", "3").code)  # noqa: E731
    assert at_phase(server, "prepare", 2, second) == ""
    assert refused == [EXIT_TRY_AGAIN]
    assert workers(server) == ["ready"] * 2
    assert server.stop() == 0
    done = run(server, "rescale", "--workers", "3")
    assert (done.code, "no server runs" in done.err) == (EXIT_UNAVAILABLE, True)

"""New code for a running server: it proves itself first, clients wait and do not fail, the state goes on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mini_flink.asking import RefusedError, UnavailableError, ask
from mini_flink.cli import EXIT_INTERRUPTED
from mini_flink.errors import EXIT_CONFIG, EXIT_INTERNAL, EXIT_TRY_AGAIN
from mini_flink.jobs import JobTarget
from tests.e2e import checks
from tests.e2e.client import Exchange, Load, post
from tests.e2e.commands import Ended, Points, Running, children, kill_everything, run
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, Server

VERSIONS = JOBS / "versions.py"
PATIENT = ("--gateways", "2", "--request-timeout-ms", "60000", "--flush-interval-ms", "200")
PROBE = 'POST /total {"key": "k1", "amount": 1000}'
CONNECTIONS = 16


def put_load_on(server: Server) -> Load:
    return Load(lambda: server.url, "/total", checks.amounts(SEED, CONNECTIONS)).start()


def upgrade(server: Server, version: str, *options: str, job: Path = VERSIONS) -> Ended:
    return run(server, "upgrade", str(job), *options, args=(version,))


def versions(exchanges: Sequence[Exchange]) -> list[str]:
    """Who answered."""
    return [exchange.body.get("version", "1") for exchange in exchanges if exchange.ok]


def totals(exchanges: Sequence[Exchange]) -> dict[str, list[int]]:
    """Sum and number of what was answered, by key."""
    found: dict[str, list[int]] = {}
    for exchange in exchanges:
        entry = found.setdefault(exchange.value["key"], [0, 0])
        entry[0] += exchange.value["amount"]
        entry[1] += 1
    return found


def check(server: Server, exchanges: Sequence[Exchange]) -> None:
    """Nobody was refused or cut off, every reply fits, and what is there is what was answered: no probe."""
    assert checks.failed(exchanges) == []
    assert checks.total_problems(exchanges) == []
    for key, (total, count) in totals(exchanges).items():
        reply = post(server.url, "/total", {"key": key, "amount": 0}).body
        assert (reply["total"], reply["count"]) == (total, count + 1)


def test_twice_under_load(serve: Serve) -> None:
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "2")
    load = put_load_on(server)
    slots = []
    for version in ("2", "3"):
        load.until_done(200)
        done = upgrade(server, version, "--probe", PROBE)
        assert done.code == 0
        assert f'"version":"{version}"' in done.err, "the probe was answered by the new version"
        slots.append([each["index"] for each in server.status()["processes"] if each["role"] == "gateway"])
        asked = [post(server.url, "/total", {"key": "own", "amount": 1}) for _ in range(8)]
        assert versions(asked) == [version] * 8
    load.until_done(200)
    exchanges = load.stop()
    assert slots == [[2, 3], [0, 1]]
    assert load.refused == 0
    for chain in load.exchanges:
        assert versions(chain) == sorted(versions(chain)), "no client falls back to an older version"
    check(server, exchanges)
    assert post(server.url, "/total", {"key": "own", "amount": 0}).body["total"] == 16
    # What the versions before have answered counts too.
    enough = len(exchanges) + len(asked) * 2
    server.until_status(lambda report: report["totals"]["answered"] >= enough, "all that was answered")
    assert server.stop() == 0
    assert int(server.until(r"Stopped in .* (\d+) answered")[1]) >= enough
    server.args = ("3",)
    server.start()
    assert post(server.url, "/total", {"key": "own", "amount": 0}).body["total"] == 16
    assert server.stop() == 0


def test_a_version_that_does_not_prove_itself(serve: Serve, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def def")
    leaving = tmp_path / "leaving.py"
    leaving.write_text("import os\nos._exit(3)")
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "2")
    load = put_load_on(server)
    load.until_done(100)
    probe = ("--probe", PROBE)
    for version, job, options, reason in (
        ("2", wrong, (), r"wrong.py"),
        ("2", leaving, (), f"status 3 before it had loaded ({leaving})"),
        ("stillborn", VERSIONS, (), "it does not open"),
        ("foreign", VERSIONS, (), "another"),
        ("dropped", VERSIONS, (), "count"),
        ("broken", VERSIONS, probe, "500"),
        ("2", VERSIONS, ("--probe", "POST /nowhere {}"), "404"),
    ):
        done = upgrade(server, version, *options, job=job)
        assert (done.code, reason in done.err) == (EXIT_CONFIG, True), done.err
        load.until_done(50)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        call_off(server, tmp_path, number)
        load.until_done(50)
    exchanges = load.stop()
    assert load.refused == 0
    assert set(versions(exchanges)) == {"1"}
    check(server, exchanges)
    assert server.stop() == 0


def call_off(server: Server, folder: Path, number: signal.Signals) -> None:
    """End whoever has asked for a version that never loads: it must not lock the server."""
    hanging = folder / "hanging.py"
    hanging.write_text("import time\n\ntime.sleep(3600)")
    before, since = children(server).keys(), server.mark()
    asker = Running(server, "upgrade", str(hanging))
    server.until_status(lambda report: report["state"] == "serving (upgrade: prepare)", "the upgrade")
    with pytest.raises(RefusedError, match="the server is changed by upgrade") as refused:
        ask(str(server.data_dir), "savepoint", {}, limit_s=10)
    assert refused.value.exit_code == EXIT_TRY_AGAIN
    asker.send(number)
    why = "whoever asked for it has ended" if number == signal.SIGKILL else "it was called off"
    server.until(f"upgrade by .* came to nothing, the server goes on as it was: {why}", since)
    server.until_status(lambda report: report["state"] == "serving", "the end of the upgrade")
    assert children(server).keys() == before
    assert asker.wait().code == (-number if number == signal.SIGKILL else EXIT_INTERRUPTED)


def test_a_changed_type_and_a_dropped_state(serve: Serve) -> None:
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "2")
    for amount, total in ((1, 1), (2, 3), (3, 6)):
        answer = post(server.url, "/total", {"key": "k", "amount": amount})
        assert answer.body["total"] == total
    assert upgrade(server, "typed", "--probe", PROBE).code == 0
    migrated = post(server.url, "/total", {"key": "k", "amount": 1}).body
    assert migrated == {"total": 7.5, "count": 4, "version": "typed"}
    assert upgrade(server, "dropped").code == EXIT_CONFIG
    assert upgrade(server, "dropped", "--allow-dropped-state").code == EXIT_CONFIG, "a float is no int"
    assert server.stop() == 0


CRASHES = ("g3@on_standby", "w0@after_track", "resharder@mid_build", "w1@after_tail")
"""Who dies at an upgrade; new gateways have the slots 2 and 3."""


def test_crashes(serve: Serve, tmp_path: Path) -> None:
    points = Points(tmp_path / "points", *CRASHES)
    server = serve(VERSIONS, *PATIENT, args=["1"], environment=points.environment).start("--workers", "2")
    load = put_load_on(server)
    for point in CRASHES:
        load.until_done(50)
        points.arm(point)
        done = upgrade(server, "2", "--probe", PROBE)
        assert points.fired(point)
        assert done.code in (0, EXIT_INTERNAL), done.err
        server.until_status(lambda status: status["state"] == "serving", "an end of the upgrade")
    load.until_done(50)
    exchanges = load.stop()
    assert load.refused == 0
    check(server, exchanges)
    assert server.stop() == 0


def at_phase(server: Server, phase: str, version: str, act: Callable[[], object]) -> str:
    """Ask for an upgrade, and do something as soon as it comes to ``phase``; why it came to nothing."""

    def heard(told: Mapping[str, Any]) -> None:
        if told.get("phase") == phase:
            act()

    job = JobTarget.parse(str(VERSIONS), (version,)).as_dict()
    try:
        ask(str(server.data_dir), "upgrade", {"job": job}, heard)
    except (RefusedError, UnavailableError) as error:
        return error.message
    return ""


def test_an_old_worker_dies_while_old_gateways_finish(serve: Serve) -> None:
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "2")
    load = put_load_on(server)
    load.until_done(100)
    worker = server.pid("worker", 0)

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):  # the first attempt's
            os.kill(worker, signal.SIGKILL)

    assert at_phase(server, "hold", "2", kill) == ""
    load.until_done(100)
    check(server, load.stop())
    assert server.stop() == 0


@pytest.mark.parametrize("phase", ["hold", "probe"])
def test_everything_dies_in_the_middle(serve: Serve, phase: str) -> None:
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "2")
    load = put_load_on(server)
    load.until_done(100)
    assert at_phase(server, phase, "2", lambda: kill_everything(server)) != ""
    server.start()
    load.until_done(100)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} <= {0, 200}  # 0: cut, if anybody was just being served
    least = totals([exchange for exchange in exchanges if exchange.ok])
    for key, (most, _) in totals(exchanges).items():
        now = post(server.url, "/total", {"key": key, "amount": 0}).body["total"]
        assert least.get(key, [0])[0] <= now <= most
    assert server.stop() == 0


JOB_OF_TWO_FILES = """
import helper
from mini_flink.datastream import StreamExecutionEnvironment

JOB = "{version}"
env = StreamExecutionEnvironment.get_execution_environment()
requests = env.from_requests("/total").key_by(lambda value: value["key"] + JOB + helper.VERSION)
requests.map(lambda value: {"in": value["key"], "job": JOB, "helper": helper.VERSION}).reply()
env.execute("two files")
"""


def write(folder: Path, version: str) -> Path:
    """Edit both files in place; the job."""
    job = folder / "job.py"
    job.write_text(JOB_OF_TWO_FILES.replace("{version}", version))
    (folder / "helper.py").write_text(f'VERSION = "{version}"\n')
    return job


def who_answers(server: Server) -> set[tuple[str, str]]:
    """The versions of both files, after everybody was killed and is back."""
    for role in ("worker", "gateway"):
        for process in [each for each in server.status()["processes"] if each["role"] == role]:
            server.until_back(role, process["index"], server.kill(role, process["index"]))
    bodies = [post(server.url, "/total", {"key": f"k{number}", "amount": 1}).body for number in range(8)]
    return {(body["job"], body["helper"]) for body in bodies}


def test_files_are_edited_in_place(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "user"
    folder.mkdir()
    server = serve(write(folder, "1"), "--gateways", "1").start("--workers", "2")
    job = write(folder, "2")
    assert who_answers(server) == {("1", "1")}
    assert upgrade(server, "x", job=job).code == 0
    assert who_answers(server) == {("2", "2")}
    write(folder, "3")
    assert upgrade(server, "x", "--probe", "POST /nowhere {}", job=job).code == EXIT_CONFIG
    assert who_answers(server) == {("2", "2")}
    assert run(server, "rescale", "--workers", "3").code == 0
    assert who_answers(server) == {("2", "2")}
    assert server.stop() == 0
    since = server.mark()
    server.start()
    server.until(r"last served from \S+/job.py -- x \(upgraded to at .*\); now from \S+/job.py\n", since)
    assert who_answers(server) == {("3", "3")}
    assert server.stop() == 0


def test_a_state_that_gets_its_first_value_during_the_copy_is_judged_too(serve: Serve) -> None:
    """Empty when the upgrade began, it fits any type; what it holds at the end needs the migration."""
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "1")
    going = Running(server, "upgrade", str(VERSIONS), args=("typed",))
    going.until_said("state is copied while the server serves")
    assert post(server.url, "/total", {"key": "k1", "amount": 3}).body["total"] == 3
    assert going.wait().code == 0
    assert post(server.url, "/total", {"key": "k1", "amount": 1}).body["total"] == 4.5


def test_ctrl_c_calls_it_off(serve: Serve) -> None:
    server = serve(VERSIONS, *PATIENT, args=["1"]).start("--workers", "1")
    going = Running(server, "upgrade", str(VERSIONS), args=("2",))
    going.until_said("the job is loaded")
    going.interrupt()
    ended = going.wait()
    assert (ended.code, "called off" in ended.err) == (130, True)
    server.until("upgrade by .* came to nothing, the server goes on as it was: it was called off")
    server.until_status(lambda status: status["state"] == "serving", "the end of the upgrade")
    assert versions([post(server.url, "/total", {"key": "k1", "amount": 1})]) == ["1"]
    assert upgrade(server, "2").code == 0

"""More and fewer workers while clients are served: no request fails, and everything adds up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mini_flink.asking import ask
from mini_flink.errors import EXIT_CONFIG
from mini_flink.runners import dead_letters
from tests.e2e import checks, ledgers
from tests.e2e.client import Exchange, Load, post
from tests.e2e.commands import children, run
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, LIMIT_S, Server
from tests.examples.models import RiskEngine
from tests.examples.payments import payment_chains

LEDGER = JOBS / "ledger.py"
PATIENT = ("--gateways", "1", "--request-timeout-ms", "60000", "--flush-interval-ms", "200")
CONNECTIONS = 16


def put_load_on(server: Server) -> Load:
    return Load(lambda: server.url, "/add", ledgers.chains(CONNECTIONS)).start()


def workers(server: Server) -> list[str]:
    """The states of the workers."""
    return [each["state"] for each in server.status()["processes"] if each["role"] == "worker"]


def check(server: Server, exchanges: Sequence[Exchange]) -> None:
    """Nobody was refused or cut off, and everything is there once."""
    assert checks.failed(exchanges) == []
    server.until_status(lambda status: status["pending"] == 0, "an empty pending map")
    assert ledgers.problems(server.url, exchanges) == []


def test_up_and_down_under_load(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT).start("--workers", "1")
    load = put_load_on(server)
    load.until_done(200)
    for generation, number in enumerate((4, 2, 3), 2):
        done = run(server, "rescale", "--workers", str(number), "--json")
        assert done.code == 0
        changed = done.json()
        assert (changed["workers"], changed["generation"], changed["attempts"]) == (number, generation, 1)
        load.until_done(100)
        assert workers(server) == ["ready"] * number
        assert not load.at_end
    exchanges = load.stop()
    assert load.refused == 0
    check(server, exchanges)
    assert [each.name for each in server.data_dir.glob("g*")] == ["g4"]
    assert server.stop() == 0
    server.start()
    assert workers(server) == ["ready"] * 3
    check(server, exchanges)


def test_the_order_of_each_key_and_the_parallelism_of_a_stage(serve: Serve) -> None:
    server = serve("mini_flink.examples.running_total", *PATIENT).start("--workers", "2")
    load = Load(lambda: server.url, "/total", checks.amounts(SEED, CONNECTIONS)).start()
    load.until_done(100)
    unknown = run(server, "rescale", "--parallelism", "totals=3")
    assert (unknown.code, "totals" in unknown.err) == (EXIT_CONFIG, True)
    assert run(server, "rescale", "--workers", "3", "--parallelism", "total=5").code == 0
    load.until_done(100)
    server.kill_all()
    server.start()
    load.until_done(100)
    assert run(server, "rescale", "--parallelism", "total=1").code == 0
    load.until_done(100)
    exchanges = load.stop()
    assert {exchange.status for exchange in exchanges} == {0, 200}, "cut off by the kill, or answered"
    assert backward_steps(load.exchanges) == []
    assert server.stop() == 0


def answered(exchanges: Sequence[Exchange]) -> list[Exchange]:
    return [exchange for exchange in exchanges if exchange.ok]


def backward_steps(chains: Sequence[Sequence[Exchange]]) -> list[Any]:
    """Answers to one connection about one key whose total is not above that of the answer before."""
    found = []
    for chain in chains:
        last: dict[str, int] = {}
        for exchange in answered(chain):
            key, total = exchange.value["key"], exchange.body["total"]
            if total < last.get(key, 0) + exchange.value["amount"]:
                found.append(exchange)
            last[key] = total
    return found


def test_risk_engine_equals_its_model(serve: Serve) -> None:
    payments = payment_chains(seed=SEED, chains=12, length=400)
    server = serve("mini_flink.examples.risk_engine", *PATIENT).start("--workers", "2")
    load = Load(lambda: server.url, "/event", payments).start()
    for number in (3, 1):
        load.until_done(200)
        assert run(server, "rescale", "--workers", str(number)).code == 0
    load.until_done(200)
    assert checks.failed(load.stop()) == []
    for chain in load.exchanges:
        model = RiskEngine()
        for exchange in chain:
            assert exchange.body == model.reply(exchange.value)
    assert server.stop() == 0


def test_who_is_refused_meanwhile_is_counted(serve: Serve) -> None:
    """Nobody waits longer than for an answer: with so short a patience some hear 503, and it is said."""
    impatient = ("--gateways", "1", "--request-timeout-ms", "20")
    server = serve("mini_flink.examples.running_total", *impatient).start("--workers", "1")
    load = Load(lambda: server.url, "/total", checks.amounts(SEED, CONNECTIONS)).start()
    load.until_done(100)
    changed = run(server, "rescale", "--workers", "2", "--json").json()
    exchanges = load.stop()
    turned_away = [each for each in exchanges if each.status == 503]
    assert len(turned_away) == changed["refused"] > 0
    assert server.stop() == 0


def test_the_number_for_starts_in_a_file_is_none_for_a_rescale(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT, environment={"MINI_FLINK_WORKERS": "1"}).start()
    refused = run(server, "rescale")
    assert (refused.code, "rescale needs a number" in refused.err) == (2, True)
    refused = run(server, "rescale", "--parallelism", "first=²")
    assert (refused.code, "is not UID=N" in refused.err) == (2, True)
    assert server.stop() == 0


def test_a_state_may_reach_the_tables_while_the_resharder_looks(serve: Serve) -> None:
    """Workers write what they declare with their first flush, here between its look and its copy."""
    server = serve(
        JOBS / "failing.py", "--gateways", "1", "--flush-interval-ms", "600000", "--hang-timeout-ms", "0"
    ).start("--workers", "1")
    data_dir = str(server.data_dir)
    worker = server.send(signal.SIGSTOP, "worker")  # so that it cannot answer in the phase that comes next

    def flush_meanwhile(told: Mapping[str, Any]) -> None:
        if told.get("phase") != "track":
            return
        [resharder] = [pid for pid, title in children(server).items() if "resharder" in title]
        os.kill(resharder, signal.SIGSTOP)
        os.kill(worker, signal.SIGCONT)
        assert post(server.url, "/total", {"key": "k", "amount": 1, "do": "raise"}).status == 500
        deadline = time.monotonic() + LIMIT_S
        while not dead_letters.read(data_dir):  # it takes the rest along into the table
            assert time.monotonic() < deadline, "it never came to the table"
        os.kill(resharder, signal.SIGCONT)

    done = ask(data_dir, "rescale", {"workers": 2, "parallelisms": {}}, flush_meanwhile)
    assert (done["workers"], done["attempts"]) == (2, 1)
    assert post(server.url, "/total", {"key": "k", "amount": 1}).body == {"total": 1}
    assert server.stop() == 0

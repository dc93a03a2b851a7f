"""``kill -9`` of more than workers: what was answered is there once, all else at most once.

Every request has a token of its own, which two stages remember. A dead gateway cuts its connections; nothing
but such a cut may be seen by a client.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from random import Random

import pytest

from tests.e2e import ledgers
from tests.e2e.client import Exchange, Load
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, Server

CONNECTIONS = 32
LEDGER = JOBS / "ledger.py"
PATIENT = ("--workers", "2", "--gateways", "2", "--request-timeout-ms", "60000", "--flush-interval-ms", "200")


def put_load_on(server: Server) -> Load:
    return Load(lambda: server.url, "/add", ledgers.chains(CONNECTIONS)).start()


def check(server: Server, exchanges: Sequence[Exchange], *, cuts: bool = True) -> None:
    answered = sum(exchange.ok for exchange in exchanges)
    lost = sum(exchange.lost for exchange in exchanges)
    print(f"{answered} answered, {lost} cut off")
    assert answered > 0
    assert answered + lost == len(exchanges)
    assert (lost > 0) == cuts
    server.until_status(lambda status: status["pending"] == 0, "an empty pending map")
    assert ledgers.problems(server.url, exchanges) == []


def test_everything_at_once_and_again(serve: Serve) -> None:
    rng = Random(f"everything {SEED}")
    server = serve(LEDGER, *PATIENT).start()
    load = put_load_on(server)
    for _ in range(4):
        load.until_done(rng.randrange(50, 400))
        server.kill_all()
        server.start()
    load.until_done(200)
    check(server, load.stop())
    assert server.stop() == 0


@pytest.mark.parametrize("victims", [["gateway"], ["gateway", "worker"]], ids=" and ".join)
def test_a_gateway(serve: Serve, victims: list[str]) -> None:
    rng = Random(f"gateway {SEED}")
    server = serve(LEDGER, *PATIENT).start()
    load = put_load_on(server)
    for number in range(4):
        load.until_done(rng.randrange(50, 400))
        since = server.mark()
        pids = [server.pid(role, number % 2) for role in victims]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for role in victims:
            server.until_back(role, number % 2, since)
    load.until_done(200)
    check(server, load.stop())
    assert load.refused == 0, "the socket outlives its gateway"
    assert server.stop() == 0


def test_the_supervisor_alone(serve: Serve) -> None:
    rng = Random(f"supervisor {SEED}")
    server = serve(LEDGER, *PATIENT).start()
    load = put_load_on(server)
    for _ in range(3):
        load.until_done(rng.randrange(50, 400))
        children = [server.pid(role, index) for role in ("worker", "gateway") for index in range(2)]
        server.process.kill()
        server.wait()
        server.start()
        server.until_gone(children)
    load.until_done(200)
    check(server, load.stop())
    assert server.stop() == 0


def test_a_stopped_worker(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT, "--hang-timeout-ms", "300").start()
    load = put_load_on(server)
    for index in range(2):
        load.until_done(100)
        since = server.mark()
        pid = server.send(signal.SIGSTOP, "worker", index)
        server.until(rf"worker {index} \(pid {pid}\) died: SIGKILL \(stopped", since)
        server.until_back("worker", index, since)
    load.until_done(200)
    check(server, load.stop(), cuts=False)
    assert server.stop() == 0


def test_a_stopped_worker_whose_supervisor_is_dead(serve: Serve) -> None:
    server = serve(LEDGER, *PATIENT, "--hang-timeout-ms", "0").start()
    load = put_load_on(server)
    load.until_done(300)
    orphan = server.send(signal.SIGSTOP, "worker", 1)
    others = [server.pid("worker", 0), server.pid("gateway", 0), server.pid("gateway", 1)]
    server.process.kill()
    server.wait()
    server.until_gone(others)
    os.kill(orphan, 0)
    server.start()
    server.until_gone([orphan])
    load.until_done(300)
    check(server, load.stop())
    assert server.stop() == 0

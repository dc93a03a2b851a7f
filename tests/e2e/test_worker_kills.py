"""Workers are killed at random under load: no request fails, and everything adds up.

A kill counts once it has hit records that were not committed, or not acknowledged: somebody had to send
records again. The counters of ``status`` tell.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.e2e import checks
from tests.e2e.client import Exchange, Load, post_all
from tests.e2e.conftest import Serve
from tests.e2e.seeds import SEED
from tests.e2e.server import JOBS, Server
from tests.examples.models import RiskEngine
from tests.examples.payments import payment_chains

PATIENT = ("--request-timeout-ms", "60000", "--flush-interval-ms", "200")
"""Nobody gives up while a worker is started again, and flushes are often hit."""


def kill_workers(server: Server, load: Load, workers: int, *, hits: int, requests: int = 0) -> list[Exchange]:
    """Kill workers under load until ``hits`` kills made somebody send records again; what was exchanged.

    The load ends after as many ``requests`` at the earliest.
    """
    rng = Random(f"kills {SEED}")
    kills, hit, resends = 0, 0, server.total("resends")
    victims: list[int] = []
    while hit < hits:
        assert kills < 3 * hits, f"{hit} of {kills} kills have hit something"
        load.until_done(rng.randrange(1, 150))
        # All in turn, in random order: one that is killed again and again is started slower and slower.
        victims = victims or rng.sample(range(workers), workers)
        index = victims.pop()
        waiting = len(load.in_flight())
        server.until_back("worker", index, server.kill("worker", index))
        before, resends = resends, server.total("resends")
        kills += 1
        hit += waiting > 0 and resends > before
    load.until_done(max(100, requests - load.done))
    assert not load.at_end, "the load ended before the kills"
    exchanges = load.stop()
    print(f"{kills} kills, {hit} of them with resends, {resends} resends, {len(exchanges)} requests")
    server.until_status(lambda status: status["pending"] == 0, "an empty pending map")
    assert server.total("duplicates", "worker") > 0
    assert load.refused == 0
    assert checks.failed(exchanges) == []
    return exchanges


def test_running_total(serve: Serve) -> None:
    server = serve("mini_flink.examples.running_total", "--workers", "4", *PATIENT).start()
    load = Load(lambda: server.url, "/total", checks.amounts(SEED, 32)).start()
    exchanges = kill_workers(server, load, workers=4, hits=30)
    assert checks.total_problems(exchanges) == []
    assert server.stop() == 0


def test_three_stages_with_fan_out_fan_in_and_dropped_records(serve: Serve) -> None:
    server = serve(JOBS / "orders.py", "--workers", "3", *PATIENT).start()
    load = Load(lambda: server.url, "/order", checks.orders(SEED, 32)).start()
    exchanges = kill_workers(server, load, workers=3, hits=12)
    assert {exchange.status for exchange in exchanges} == {200, 204}
    closing = [chain[0] for chain in post_all(server.url, "/order", checks.closing_orders())]
    assert checks.order_problems(exchanges, closing) == []
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_risk_engine_equals_its_model(serve: Serve, workers: int) -> None:
    server = serve("mini_flink.examples.risk_engine", "--workers", str(workers), *PATIENT).start()
    load = Load(lambda: server.url, "/event", payment_chains(SEED, chains=24, length=1000)).start()
    kill_workers(server, load, workers, hits=6, requests=2000)
    anomalies = 0
    for chain in load.exchanges:
        model = RiskEngine()
        for exchange in chain:
            assert exchange.body == model.reply(exchange.value)
            anomalies += exchange.body["isAnomaly"]
    assert anomalies > 10
    assert server.stop() == 0

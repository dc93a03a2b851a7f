"""State without a uid of its own: a job changed in front of it is refused, and nothing is taken over."""

from __future__ import annotations

import re

from tests.e2e.client import post
from tests.e2e.conftest import Serve
from tests.e2e.server import JOBS


def test_an_inserted_operator_does_not_take_over_the_state_of_the_one_behind(serve: Serve) -> None:
    server = serve(JOBS / "unnamed.py", "--workers", "1", "--gateways", "1").start()
    assert post(server.url, "/add", {"key": "a"}).body["count"] == 1
    assert server.stop() == 0
    assert "the start would then be refused" in server.output
    server.clumsy = True
    server.args = ("inserted",)
    server.launch()
    assert server.wait() == 78
    refused = (
        r"state 'n' of operator 'process-\w+' is stored and not declared any more\s+= help: --allow-dropped"
    )
    assert re.search(refused, server.output)
    server.args = ()
    server.start()
    assert post(server.url, "/add", {"key": "a"}).body["count"] == 2
    assert server.stop() == 0

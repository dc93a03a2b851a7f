"""Every test of HTTP runs in both lanes, and on both event loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from mini_flink.gateway.routes import SourceRoute
from tests.gateway.served import Limits, Served

ROUTES = (
    SourceRoute(1, "/event"),
    SourceRoute(2, "/things", ("GET",)),
    SourceRoute(3, "/things", ("PUT", "DELETE")),
    SourceRoute(4, "/things/{thing_id:int}", ("GET", "POST")),
    SourceRoute(5, "/any", ("POST",), "object"),
    SourceRoute(6, "/raw", ("POST",), "bytes"),
    SourceRoute(7, "/request/{name}", ("GET", "POST"), "request", ("x-trace",)),
)

Serve = Callable[..., Served]


@pytest.fixture(params=["direct-uvloop", "asgi-uvloop", "direct-asyncio", "asgi-asyncio"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Starts servers: ``serve()``, ``serve(routes)``, ``serve(limits=Limits(…))``."""
    started: list[Served] = []

    def start(routes: Sequence[SourceRoute] = ROUTES, *, limits: Limits | None = None) -> Served:
        started.append(Served(request.param, routes, limits or Limits()))
        return started[-1]

    yield start
    for served in started:
        served.close()


@pytest.fixture
def served(serve: Serve) -> Served:
    """A server with ``ROUTES`` and long time-outs."""
    return serve()

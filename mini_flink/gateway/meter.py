"""What a gateway measures: per route how long answers take, and how many there are of each status."""

from __future__ import annotations

import time
from collections.abc import Callable

from mini_flink.gateway.port import Answer, Done
from mini_flink.metrics import Counter, Registry

REQUEST_SECONDS = "mini_flink_request_seconds"
REQUESTS = "mini_flink_requests_total"
FIRST_ERROR = 400
NO_ROUTE = "(none)"
"""No path is called so: what the server itself refuses, and what is for no input of the job."""
_HELP = "Requests of a route, by the status of their answer."


class RouteMeter:
    """The metrics of one route; ``noticed`` hears of answers that may come without a word from a worker."""

    def __init__(self, registry: Registry, route: str, noticed: Callable[[], None]) -> None:
        self._noticed = noticed
        self._registry = registry
        self._route = route
        self._seconds = registry.histogram(
            REQUEST_SECONDS, {"route": route}, "From a request, wholly received, to its answer."
        )
        self._statuses: dict[int, Counter] = {}

    def answered(self, status: int, began_ns: int) -> None:
        """The answer to a request that began then."""
        self._seconds.observe((time.monotonic_ns() - began_ns) // 1000)
        counter = self._statuses.get(status)
        if counter is None:
            counter = self._new_status(status)
        counter.value += 1
        if status >= FIRST_ERROR:
            self._noticed()

    def watch(self, done: Done) -> Done:
        """``done``, which is measured: from now until it is called."""
        began_ns = time.monotonic_ns()

        def answered(answer: Answer) -> None:
            self.answered(answer.status, began_ns)
            done(answer)

        return answered

    def _new_status(self, status: int) -> Counter:
        labels = {"route": self._route, "status": str(status)}
        counter = self._statuses[status] = self._registry.counter(REQUESTS, labels, _HELP)
        return counter


class RefusalMeter:
    """Counts what never came to a route: 404, 405, and what is too large, too slow or no HTTP."""

    def __init__(self, registry: Registry, noticed: Callable[[], None]) -> None:
        self._registry = registry
        self._noticed = noticed

    def count(self, status: int) -> None:
        """One more; statuses are those that the server itself gives, so there are few."""
        labels = {"route": NO_ROUTE, "status": str(status)}
        self._registry.counter(REQUESTS, labels, _HELP).value += 1
        self._noticed()

"""The request sources of a plan, as HTTP routes."""

from __future__ import annotations

from mini_flink.gateway.routes import SourceRoute
from mini_flink.plan import Plan


def routes_of(plan: Plan) -> list[SourceRoute]:
    """One route per ``from_requests``; its number is the source's operator number."""
    return [
        SourceRoute(
            source=source.number,
            path=source.request_options.path,
            methods=source.request_options.methods,
            body=source.request_options.body,
            headers=source.request_options.headers,
        )
        for source in plan.request_sources
    ]

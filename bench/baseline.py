"""The baseline: the same counter as ``running_total``, by hand, in the memory of one Starlette process."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

totals: dict[str, int] = {}


async def total(request: Request) -> JSONResponse:
    value = await request.json()
    key = value["key"]
    totals[key] = totals.get(key, 0) + value["amount"]
    return JSONResponse({"key": key, "total": totals[key]})


app = Starlette(routes=[Route("/total", total, methods=["POST"])])

"""How uvicorn is set here: a parser that refuses what is ambiguous, and nothing but HTTP."""

from __future__ import annotations

from typing import Any

from uvicorn import Config


def plain_config(app: Any, **more: Any) -> Config:
    """uvicorn's settings for ``app``, and ``more`` of them."""
    return Config(
        app,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **more,
    )

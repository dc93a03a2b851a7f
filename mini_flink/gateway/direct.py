"""The request of the fast lane.

Owns what is known of it between its head and its answer. ``protocol`` puts it where uvicorn keeps its ASGI
cycle, so it is one: uvicorn's bookkeeping asks whether it is complete, and tells it of a disconnect.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from mini_flink.gateway.port import DirectEndpoint, Headers


class DirectCycle(RequestResponseCycle):
    """One per connection, used for one request after the other. Never runs an application."""

    def __init__(self) -> None:
        self.message_event = asyncio.Event()
        self.disconnected = False
        self.response_started = False
        self.response_complete = True
        self.keep_alive = True
        self.endpoint: DirectEndpoint
        self.began_ns = 0
        self.headers: Headers = ()
        self.content: bytes | bytearray = b""
        self.due = False  # the body is complete, the endpoint has not been called

    def begin(self, endpoint: DirectEndpoint, headers: Headers, keep_alive: bool) -> None:
        """A head has arrived."""
        self.response_complete = False
        self.keep_alive = keep_alive
        self.endpoint = endpoint
        self.headers = headers
        self.content = b""

    def add(self, body: bytes) -> None:
        """A piece of the body has arrived."""
        if not self.content:
            self.content = body
            return
        if isinstance(self.content, bytes):
            self.content = bytearray(self.content)
        self.content += body

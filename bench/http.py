"""A small HTTP client for checks: many requests over few connections, without a framework in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any


class BadReply(Exception):
    """A reply with another status than 200."""


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, value: Any) -> Any:
    """One request on an open connection; the decoded reply."""
    body = json.dumps(value).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].split("\r\n")[0])
    reply = await reader.readexactly(length)
    if not head.startswith("http/1.1 200 "):
        raise BadReply(f"{head.splitlines()[0]}: {reply[:200]!r}")
    return json.loads(reply)


async def post_all(port: int, path: str, values: Sequence[Any], connections: int) -> list[Any]:
    """The replies to all values, in their order; each connection sends one request at a time."""
    numbers = iter(range(len(values)))
    replies: list[Any] = [None] * len(values)

    async def run() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for number in numbers:
                replies[number] = await post(reader, writer, path, values[number])
        finally:
            writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(connections, len(values))):
            group.create_task(run())
    return replies

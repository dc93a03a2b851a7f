"""The admin process: one event loop that watches the server and answers whoever looks.

Called as ``python -m mini_flink.admin SPEC``. It holds nothing that matters: when it dies the supervisor
starts it again on the same socket, and what serves requests does not notice. It gives way to them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from dataclasses import dataclass

import setproctitle

from mini_flink import console, faults
from mini_flink.admin.api import Api, page_text
from mini_flink.admin.guard import BODY_BYTES, Guard
from mini_flink.admin.watch import Watch
from mini_flink.gateway.server import HttpServer
from mini_flink.limits import Limits
from mini_flink.priority import be_nicer
from mini_flink.spec import AdminSpec

NICE = 5
UNREAD_BYTES = 128 * 1024
FIRST_LOOK_S = 5.0
CONNECTIONS = 256
"""Streams, what browsers keep open beside them, and scrapers; who holds more of them open gets no further."""


@dataclass(frozen=True, slots=True)
class AdminLimits:
    """What a connection may do (``HttpLimits``): a page sends little, and whoever does not read is let go."""

    max_body_bytes: int = BODY_BYTES
    max_header_bytes: int = 32 * 1024
    max_header_fields: int = 100
    header_timeout_ms: int = 5_000
    body_timeout_ms: int = 10_000
    """Also for how long a reader of the stream may read nothing."""
    keep_alive_timeout_ms: int = 75_000


def _listener(fd: int) -> socket.socket:
    """The supervisor's socket; what a connection may leave unread is bounded also in the kernel."""
    listener = socket.socket(fileno=fd)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
    return listener


async def _serve(spec: AdminSpec) -> None:
    watch = Watch(spec.data_dir, Limits.read(spec.limits))
    api = Api(spec, watch)
    server = HttpServer(
        AdminLimits(),
        Guard(api.app(), spec, page_text()),
        _listener(spec.listen_fd),
        find_direct=lambda *_: None,
        max_connections=CONNECTIONS,
    )
    # Nobody writes: it is readable when the supervisor is gone.
    asyncio.get_running_loop().add_reader(spec.alive_fd, lambda: os._exit(0))
    watching = asyncio.create_task(watch.run())
    # Who comes before waits in the socket: the first thing that a page hears is how things stand.
    await asyncio.wait((watching, asyncio.create_task(watch.begun.wait())), timeout=FIRST_LOOK_S,
                       return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
    await server.start()
    await watching


def main(argv: list[str]) -> int:
    """Be the admin process that the specification in ``argv[1]`` describes."""
    spec = AdminSpec.read(argv[1])
    faults.enable("admin")
    setproctitle.setproctitle("mini_flink admin")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    console.choose(spec.log, os.environ, spec.job)
    console.install("admin", spec.console_lock)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    be_nicer(NICE)
    asyncio.run(_serve(spec))
    return 0

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

import setproctitle
import uvicorn

from mini_flink import console, faults
from mini_flink.admin.api import Api, page_text
from mini_flink.admin.guard import Guard
from mini_flink.admin.watch import Watch
from mini_flink.gateway.plain import plain_config
from mini_flink.priority import be_nicer
from mini_flink.spec import AdminSpec

NICE = 5


async def _serve(spec: AdminSpec) -> None:
    watch = Watch(spec.data_dir)
    api = Api(spec, watch)
    config = plain_config(Guard(api.app(), spec, page_text()), timeout_graceful_shutdown=0)
    # Nobody writes: it is readable when the supervisor is gone.
    asyncio.get_running_loop().add_reader(spec.alive_fd, lambda: os._exit(0))
    watching = asyncio.create_task(watch.run())
    serving = asyncio.create_task(uvicorn.Server(config).serve([socket.socket(fileno=spec.listen_fd)]))
    done, _ = await asyncio.wait((watching, serving), return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


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

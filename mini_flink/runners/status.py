"""``status``: asks the supervisor that runs on a data folder, over its own endpoint."""

from __future__ import annotations

import os
import time
from typing import Any

from mini_flink import procfs, wire
from mini_flink.errors import EXIT_UNAVAILABLE, MiniFlinkError
from mini_flink.folder import read_run
from mini_flink.ids import SUPERVISOR
from mini_flink.procfs import Process
from mini_flink.transport.base import ipc_endpoint
from mini_flink.transport.zmq import ZmqTransport

ANSWER_S = 2.0


class UnavailableError(MiniFlinkError):
    """No server runs on the folder, or it does not answer."""

    exit_code = EXIT_UNAVAILABLE


def query(data_dir: str) -> dict[str, Any]:
    """What the server on ``data_dir`` says of itself: see ``supervisor.report``. At most 2 s."""
    run = read_run(data_dir)
    if run is None or not procfs.is_alive(Process(run["pid"], run["start_time"])):
        raise UnavailableError(
            f"no server runs on {data_dir}",
            help=f"start one: python -m mini_flink serve JOB --data-dir {data_dir}",
        )
    transport = ZmqTransport()
    try:
        return _ask(transport, run)
    finally:
        transport.close()


def _ask(transport: ZmqTransport, run: dict[str, Any]) -> dict[str, Any]:
    name = f"status-{os.getpid()}"
    endpoint = ipc_endpoint(run["runtime_dir"], name, time.monotonic_ns())
    transport.bind(endpoint)
    transport.connect(SUPERVISOR, run["supervisor_endpoint"])
    question = wire.encode_control(wire.STATUS, name, 0, run["generation"], {"endpoint": endpoint})
    transport.send(SUPERVISOR, question)
    deadline = time.monotonic() + ANSWER_S
    while (remaining_s := deadline - time.monotonic()) > 0:
        transport.wait(int(remaining_s * 1000) + 1, ())
        for message in map(wire.decode, transport.receive(10)):
            if isinstance(message, wire.Control) and message.kind == wire.STATUS_REPLY:
                return message.data
    raise UnavailableError(
        f"the server (pid {run['pid']}) does not answer", help=f"it may be stopped: kill -CONT {run['pid']}"
    )

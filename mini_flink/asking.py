"""How a command talks to the supervisor that runs on a data folder: one question, then what there is to hear.

Owns the way to the supervisor's endpoint and the limits on waiting. Called by the commands of a running
server: ``status``, ``savepoint``, ``rescale``, ``upgrade``.
"""

from __future__ import annotations

import getpass
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mini_flink import procfs, wire
from mini_flink.errors import EXIT_INTERNAL, EXIT_UNAVAILABLE, MiniFlinkError
from mini_flink.folder import near_folder, read_run
from mini_flink.ids import SUPERVISOR
from mini_flink.procfs import Process
from mini_flink.transport.base import ipc_endpoint
from mini_flink.transport.zmq import ZmqTransport

ANSWER_S = 2.0
LOOK_S = 0.05
_PLACE, _DETAIL, _HELP = "  --> ", "  - ", "  = help: "
_LOOK_MS = 1000


class UnavailableError(MiniFlinkError):
    """No server runs on the folder, or it does not answer."""

    exit_code = EXIT_UNAVAILABLE


class RefusedError(MiniFlinkError):
    """The server says no, or could not do it, as ``told``; the exit code is the server's.

    A reason may be an error as it was rendered elsewhere: its first line, the place, and what to do.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        first, *more = str(told["reason"]).strip().removeprefix("error: ").splitlines()
        places = [line.removeprefix(_PLACE) for line in more if line.startswith(_PLACE)]
        helps = [line.removeprefix(_HELP) for line in more if line.startswith(_HELP)]
        message = f"{first} ({places[0]})" if places else first
        super().__init__(message, help=str(told.get("help", "")) or "; ".join(helps))
        self.details = tuple(line.removeprefix(_DETAIL) for line in more if line.startswith(_DETAIL))
        self.exit_code = int(told.get("exit_code", EXIT_INTERNAL))


def query(data_dir: str) -> dict[str, Any]:
    """What the server on ``data_dir`` says of itself: see ``supervisor.report``. At most 2 s."""
    run = running(data_dir)
    deadline = time.monotonic() + ANSWER_S
    for message in _exchange(run, wire.STATUS, {}):
        if message is not None and message.kind == wire.STATUS_REPLY:
            return message.data
        if time.monotonic() > deadline:
            break
    raise UnavailableError(
        f"the server (pid {run['pid']}) does not answer", help=f"it may be stopped: kill -CONT {run['pid']}"
    )


def ask(
    data_dir: str,
    what: str,
    question: Mapping[str, Any],
    heard: Callable[[Mapping[str, Any]], None] = lambda _: None,
    waiting: Callable[[], None] = lambda: None,
    *,
    limit_s: float = math.inf,
) -> dict[str, Any]:
    """Ask the server to do something that takes a while, and wait for its end; ``heard`` gets what it tells
    meanwhile, ``waiting`` is called now and then. RefusedError with its reason if it did not do it;
    UnavailableError if it goes away, or has said nothing for ``limit_s``. The log names who asks: this
    process's user, or ``who`` of the question.
    """
    run = running(data_dir)
    deadline = time.monotonic() + limit_s
    for message in _exchange(run, wire.ASK, {"who": _who(), "what": what, **question}):
        waiting()
        if message is None:
            if not procfs.is_alive(Process(run["pid"], run["start_time"])):
                raise UnavailableError(
                    f"the server (pid {run['pid']}) ended before the {what} was done",
                    help="python -m mini_flink serve brings it back with nothing lost",
                )
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the server (pid {run['pid']}) has not answered for {limit_s:g} s",
                    help="see which process hangs: python -m mini_flink status",
                )
        elif message.kind == wire.TOLD and not message.data.get("done"):
            heard(message.data)
        elif message.kind == wire.TOLD:
            return _judged(message.data)
    raise UnavailableError(f"the server (pid {run['pid']}) does not answer")


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # in a container there may be no name for it
        user = f"uid {os.getuid()}"
    return f"{user} (pid {os.getpid()})"


def _judged(told: dict[str, Any]) -> dict[str, Any]:
    if told["ok"]:
        return {name: value for name, value in told.items() if name not in ("ok", "done")}
    raise RefusedError(told)


def until_ended(data_dir: str) -> None:
    """Wait until the server that runs on ``data_dir``, and has been told to end, has done so."""
    while is_running(data_dir):
        time.sleep(LOOK_S)


def is_running(data_dir: str) -> bool:
    """Whether a server runs on ``data_dir``."""
    run = read_run(data_dir)
    return run is not None and procfs.is_alive(Process(run["pid"], run["start_time"]))


def running(data_dir: str) -> dict[str, Any]:
    """Where the server on ``data_dir`` is found: its run.json; UnavailableError if none runs there."""
    run = read_run(data_dir)
    if run is None or not procfs.is_alive(Process(run["pid"], run["start_time"])):
        raise UnavailableError(
            f"no server runs on {data_dir}",
            help=near_folder(data_dir) or f"start one: python -m mini_flink serve JOB --data-dir {data_dir}",
        )
    return run


def _exchange(
    run: Mapping[str, Any], kind: int, question: Mapping[str, Any]
) -> Iterator[wire.Control | None]:
    """Send one question; then each message that comes, and None whenever none has come for a while."""
    transport = ZmqTransport()
    try:
        name = f"asker-{os.getpid()}-{time.monotonic_ns()}"
        endpoint = ipc_endpoint(run["runtime_dir"], name, 0)
        transport.bind(endpoint)
        transport.connect(SUPERVISOR, run["supervisor_endpoint"])
        # Who asks: what was asked for is called off when nobody is left to hear of it.
        data = {**question, "endpoint": endpoint, "asker": list(procfs.current_process())}
        transport.send(SUPERVISOR, wire.encode_control(kind, name, 0, run["generation"], data))
        while True:
            transport.wait(_LOOK_MS, ())
            messages = [wire.decode(message) for message in transport.receive(10)]
            yield from (message for message in messages if isinstance(message, wire.Control))
            if not messages:
                yield None
    finally:
        transport.close()

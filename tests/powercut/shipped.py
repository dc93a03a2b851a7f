"""Starts the shipped worker process, plays its supervisor and its gateway's sockets, and keeps the trace.

    recording = record(place, folder, gateway, incarnation=1, requests=300)

What the gateway knew at any event of the trace is known afterwards: see ``Recording.gateway_at``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from random import Random

from mini_flink import wire
from mini_flink.config import Settings
from mini_flink.ids import SUPERVISOR
from mini_flink.jobs import JobTarget
from mini_flink.spec import ProcessSpec
from mini_flink.transport.base import ipc_endpoint
from mini_flink.transport.zmq import ZmqTransport
from tests.powercut import images, recorder
from tests.powercut.gateway import JOB, Gateway, carry_out, graph, numbers
from tests.powercut.images import Event, Kind, Run

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(
    batch_records=5,  # so that what a batch sends itself is often left for the next one
    flush_interval_ms=20,
    log_segment_bytes=64 << 10,
    state_map_bytes=64 << 20,
)
FOLDER_ID = 7
SYNC_US = 1000
IN_FLIGHT = 20
LIMIT_S = 30.0


def new_gateway(place: Path) -> Gateway:
    """The gateway of the workers that run in ``place``."""
    return Gateway(ipc_endpoint(str(place), "g0", 1))


@dataclass
class Recording:
    """What a worker process did to its folder and sent, and its gateway before each message it received."""

    events: Sequence[Event]
    history: list[Gateway]
    last: Gateway

    @cached_property
    def sent(self) -> list[tuple[int, wire.Data]]:
        """The messages to the gateway, each with how many events it came with or after."""
        return [
            (at, message)
            for at, data in _messages(self.events)
            if isinstance(message := wire.decode(data), wire.Data)
        ]

    def gateway_at(self, upto: int | None = None) -> Gateway:
        """The gateway when it had received what was sent in the first ``upto`` events, and nothing else."""
        count = len(self.sent)
        if upto is not None:
            count = bisect_right([at for at, _ in self.sent], upto)
        received = [*self.history, self.last]
        known = min(count, len(self.history))
        gateway = received[known].copy()
        for _, message in self.sent[known:count]:
            gateway.receive(message)
        return gateway

    def run(self, upto: int | None = None) -> Run:
        return Run(self.events, upto)


def record(
    place: Path,
    folder: Path,
    gateway: Gateway,
    incarnation: int,
    requests: int,
    *,
    mistake: str = "",
    clean: bool = False,
) -> Recording:
    """Runs a worker under the recorder until ``requests`` new ones and all old ones are answered.

    It is killed then, or (``clean``) told to stop.
    """
    trace = place / f"{folder.name}.trace"
    history: list[Gateway] = []
    with _Worker(place, folder, gateway.copy(), incarnation, trace=trace, mistake=mistake) as worker:
        worker.exchange(requests, history)
        if clean:
            assert worker.stop() == 0
    return Recording(images.load(trace), history, worker.gateway)


def serve(place: Path, folder: Path, gateway: Gateway, incarnation: int, requests: int) -> Gateway:
    """The same without the recorder; the gateway afterwards."""
    with _Worker(place, folder, gateway.copy(), incarnation) as worker:
        worker.exchange(requests, [])
        assert worker.stop() == 0
    return worker.gateway


class _Worker:
    """A worker process and those it talks to."""

    def __init__(
        self,
        place: Path,
        folder: Path,
        gateway: Gateway,
        incarnation: int,
        *,
        trace: Path | None = None,
        mistake: str = "",
    ) -> None:
        self.gateway = gateway
        self._place = place
        self._folder = folder
        self._incarnation = incarnation
        self._endpoint = ipc_endpoint(str(place), "w0", incarnation)
        self._environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        if trace is not None:
            self._environment |= recorder.environment(folder, trace, sends=True, sync_us=SYNC_US)
        self._main = ["tests.powercut.faulty_worker", mistake] if mistake else ["mini_flink.worker"]

    def __enter__(self) -> _Worker:
        self._supervisor, self._transport = ZmqTransport(), ZmqTransport()
        self._supervisor.bind(ipc_endpoint(str(self._place), SUPERVISOR, self._incarnation))
        self._supervisor.connect("w0", self._endpoint)
        self._transport.bind(self.gateway.endpoint)
        alive, self._pipe = os.pipe()
        module, *mistake = self._main
        command = [sys.executable, "-m", module, str(self._write_spec(alive)), *mistake]
        self._process = subprocess.Popen(command, env=self._environment, cwd=ROOT, pass_fds=[alive])
        os.close(alive)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._pipe)
        self._supervisor.close()
        self._transport.close()

    def _write_spec(self, alive_fd: int) -> Path:
        spec = ProcessSpec(
            role="worker",
            index=0,
            name="w0",
            incarnation=self._incarnation,
            generation=1,
            folder_id=FOLDER_ID,
            job=JobTarget.parse(str(JOB), directory=str(ROOT)).as_dict(),
            settings=SETTINGS.as_dict(),
            data_dir=str(self._place),
            folder=str(self._folder),
            runtime_dir=str(self._place),
            console_lock=str(self._place / "console.lock"),
            page_path=str(self._place / "w0.page"),
            endpoint=self._endpoint,
            supervisor_endpoint=ipc_endpoint(str(self._place), SUPERVISOR, self._incarnation),
            peers={"g0": [1, self.gateway.endpoint]},
            workers=1,
            gateways=1,
            max_parallelism=graph().max_parallelism,
            numbers=numbers(),
            fingerprint=graph().fingerprint(),
            alive_fd=alive_fd,
            boot=True,
        )
        path = self._place / f"w0.{self._incarnation}.json"
        path.write_text(json.dumps(asdict(spec)))
        return path

    def exchange(self, requests: int, history: list[Gateway]) -> None:
        """Send in small bursts until all are answered; the gateway before each message goes to history."""
        gateway, transport, rng = self.gateway, self._transport, Random(requests)
        carry_out(gateway.pending.meet("w0", self._incarnation, self._endpoint), transport)
        carry_out(gateway.pending.hello(), transport)
        goal = gateway.submitted + requests
        deadline = time.monotonic() + LIMIT_S
        while gateway.submitted < goal or len(gateway.pending):
            assert self._process.poll() is None, "the worker has ended"
            assert time.monotonic() < deadline, f"{len(gateway.pending)} requests are not answered"
            if len(gateway.pending) < IN_FLIGHT:
                gateway.submit(min(rng.randint(1, 5), goal - gateway.submitted))
            carry_out(gateway.pending.due(time.monotonic()), transport)
            transport.wait(rng.choice((0, 1, 3)), [])
            for message in transport.receive(64):
                history.append(gateway.copy())
                data = wire.decode(message)
                assert isinstance(data, wire.Data)
                carry_out(gateway.receive(data), transport)

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self._supervisor.send("w0", wire.encode_control(wire.STOP, SUPERVISOR, 1, 1, {}))
        return self._process.wait(LIMIT_S)


# --- messages in a trace ------------------------------------------------------------------------------------

_GREETING_BYTES = 64
_LONG, _COMMAND = 2, 4


def _messages(events: Sequence[Event]) -> Iterator[tuple[int, bytes]]:
    """What ZeroMQ has sent on all its sockets: (with how many events it was complete, the message)."""
    streams: dict[int, _Stream] = {}
    for at, event in enumerate(events, 1):
        if event.kind is Kind.SEND:
            stream = streams.setdefault(event.inode, _Stream())
            stream.data += event.data
            for message in stream.messages():
                yield at, message


class _Stream:
    """One connection's bytes: a greeting, then frames."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._at = _GREETING_BYTES

    def messages(self) -> Iterator[bytes]:
        """The messages that have become complete."""
        while len(self.data) >= self._at + 9 or (len(self.data) >= self._at + 2 and self._is_short()):
            flags = self.data[self._at]
            width = 8 if flags & _LONG else 1
            start = self._at + 1 + width
            end = start + int.from_bytes(self.data[self._at + 1 : start], "big")
            if len(self.data) < end:
                return
            self._at = end
            if not flags & _COMMAND:
                yield bytes(self.data[start:end])

    def _is_short(self) -> bool:
        return not self.data[self._at] & _LONG

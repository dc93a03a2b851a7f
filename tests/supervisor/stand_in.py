"""A worker or gateway that only does what the supervisor sees: ``python -m tests.supervisor.stand_in SPEC``.

``STAND_IN`` in the environment tells single processes to misbehave: ``{"w0": "die"}``. What it is told goes
to ``DATA_DIR/NAME.said``, one line each.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Any

from mini_flink import wire
from mini_flink.locks import FolderLock
from mini_flink.progress import Page
from mini_flink.spec import ProcessSpec
from mini_flink.transport.zmq import ZmqTransport


class StandIn:
    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.transport = ZmqTransport()
        self.transport.bind(spec.endpoint)
        self.transport.connect("supervisor", spec.supervisor_endpoint)
        self.habit = json.loads(os.environ.get("STAND_IN", "{}")).get(spec.name, "")

    def note(self, *words: object) -> None:
        with open(os.path.join(self.spec.data_dir, f"{self.spec.name}.said"), "a") as file:
            print(*words, file=file)

    def tell(self, kind: int, data: dict[str, Any]) -> None:
        spec = self.spec
        message = wire.encode_control(kind, spec.name, spec.incarnation, spec.generation, data)
        self.transport.send("supervisor", message)

    def run(self) -> int:
        spec = self.spec
        lock = FolderLock.evict(os.path.join(spec.folder, "lock")) if spec.folder else None
        page = Page(spec.page_path, spec.incarnation)
        self.note("started", spec.incarnation, spec.boot, page.previous_death())
        if self.habit == "die" or (self.habit == "die once" and spec.incarnation == 1):
            return 9
        if self.habit == "fail":
            self.tell(wire.FAILED, {"text": "error: open() of total raised", "exit_code": 78})
            self.transport.close(linger_ms=1000)
            return 78
        if self.habit == "never ready":
            time.sleep(60)
        if self.habit == "slow":
            time.sleep(1.5)
        page.publish({"answered": 3})
        page.publish_operator(1, 5, 4, 1)
        self.tell(wire.READY, {"redone": 2 if spec.role == "worker" else 0, "warnings": ["total has no uid"]})
        if self.habit == "hang" and spec.incarnation == 1:
            page.begin(65536, 1, 17)
            page.operator(1)
            time.sleep(60)
        if self.habit == "hang on stop":
            time.sleep(60)
        code = self.serve()
        page.idle()
        if lock is not None:
            lock.release()
        return code

    def serve(self) -> int:
        spec = self.spec
        listener = socket.socket(fileno=spec.listen_fd) if spec.listen_fd >= 0 else None
        fds = [spec.alive_fd, *([listener.fileno()] if listener else [])]
        while True:
            ready = self.transport.wait(None, fds)
            if spec.alive_fd in ready:
                return 3
            if listener is not None and listener.fileno() in ready:
                connection, _ = listener.accept()
                connection.sendall(f"{spec.name}.{spec.incarnation}".encode())
                connection.close()
            for message in map(wire.decode, self.transport.receive(10)):
                self.note(message.kind, json.dumps(message.data))
                if message.kind == wire.STOP:
                    return 0


if __name__ == "__main__":
    sys.exit(StandIn(ProcessSpec.read(sys.argv[1])).run())

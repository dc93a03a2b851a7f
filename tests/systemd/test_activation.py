"""Socket activation: systemd holds the port, so a restart of the server refuses nobody."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.systemd.test_notify import EXAMPLE, LIMIT_S, ROOT, Manager, bound

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="serve needs Linux")

EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http")
os.execv(sys.executable, [sys.executable, "-m", "mini_flink", *sys.argv[2:]])
"""
"""What systemd does between fork and exec; the process id stays."""


@contextmanager
def activated(port: socket.socket, notify: str, data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--data-dir", str(data_dir), "--workers", "2", "--gateways", "1"]
    server = subprocess.Popen(
        [sys.executable, "-c", EXEC, str(port.fileno()), "serve", EXAMPLE, *options],
        cwd=ROOT,
        env={**os.environ, "NOTIFY_SOCKET": notify},
        pass_fds=[port.fileno()],
    )
    try:
        yield server
    finally:
        server.kill()
        server.wait()


class Client:
    """Sends one request after the other, each on a connection of its own, and counts how they end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.answered = 0
        self.refused = 0
        self.others: list[str] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._send()
            except ConnectionRefusedError:
                self.refused += 1
            except (OSError, http.client.HTTPException) as error:
                self.others.append(repr(error))

    def _send(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT_S)) as connection:
            connection.request("POST", "/total", b'{"key": "a", "amount": 1}')
            reply = connection.getresponse()
            reply.read()
        with self._changed:
            if reply.status == 200:
                self.answered += 1
            else:
                self.others.append(str(reply.status))
            self._changed.notify_all()

    def until_answered(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.answered >= number, LIMIT_S), self.others

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def test_a_restart_refuses_no_connection(tmp_path: Path) -> None:
    address, data_dir = str(tmp_path / "notify"), tmp_path / "state"
    with socket.create_server(("127.0.0.1", 0)) as port, bound(address) as channel:
        manager = Manager(channel)
        client = Client(port.getsockname()[1])  # before the first start: it waits
        try:
            for how in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                with activated(port, address, data_dir) as server:
                    assert manager.ready() == f"http://127.0.0.1:{port.getsockname()[1]}"
                    client.until_answered(client.answered + 20)
                    assert client.others == [], "a stop lets what is in flight end"
                    server.send_signal(how)
                    server.wait(LIMIT_S)
                manager.empty()
            with activated(port, address, data_dir) as server:
                client.until_answered(client.answered + 20)
                client.stop()
                server.terminate()
                assert server.wait(LIMIT_S) == 0
        finally:
            client.stop()
    assert client.refused == 0
    # One was in flight when the supervisor was killed, one more may reach the gateway before it leaves.
    assert len(client.others) <= 2

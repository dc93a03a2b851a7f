"""Clients of the admin address that send nothing, send slowly, or do not read: they stop nobody else."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from mini_flink.admin.process import CONNECTIONS
from tests.admin.test_served import WITH_PAGE, until
from tests.e2e.server import JOBS, LIMIT_S, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile")
    server = Server(folder, JOBS / "failing.py", "--workers", "1", "--gateways", "1", environment=WITH_PAGE)
    server.start()
    with httpx.Client(timeout=20) as client:
        until(lambda: is_well(server, client), "the admin process answers")
    yield server
    server.clean_up()


def is_well(server: Server, client: httpx.Client) -> bool:
    try:
        return client.get(f"{server.status()['admin_url']}/api/v1/tick").status_code == 200
    except httpx.TransportError:
        return False


def address(server: Server) -> tuple[str, int]:
    host, _, port = server.status()["admin_url"].removeprefix("http://").partition(":")
    return host, int(port)


def has_ended(connection: socket.socket) -> bool:
    """Whether the server has let go of it."""
    try:
        return connection.recv(65536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_slowloris_takes_the_place_of_nobody(server: Server) -> None:
    pid = server.of("admin")["pid"]
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(CONNECTIONS + 40):
            connection = stack.enter_context(socket.create_connection(address(server), timeout=LIMIT_S))
            connection.sendall(b"GET /api/v1/tick HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            held.append(connection)
        with httpx.Client(timeout=20) as client:
            assert is_well(server, client), "a new client is served although all places are taken"
        deadline = time.monotonic() + LIMIT_S
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
            while not has_ended(connection):
                assert time.monotonic() < deadline, "half a head is waited for without end"
    assert server.of("admin")["pid"] == pid


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /api/v1/ops HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"\x16\x03\x01 what is this", b"400"),
    ],
)
def test_what_is_too_large_or_no_http_is_refused(server: Server, request_: bytes, status: bytes) -> None:
    with socket.create_connection(address(server), timeout=LIMIT_S) as connection:
        connection.sendall(request_)
        assert connection.recv(4096).split(b" ")[1] == status
    with httpx.Client(timeout=20) as client:
        assert is_well(server, client)


def test_who_does_not_read_is_let_go(server: Server) -> None:
    admin = psutil.Process(server.of("admin")["pid"])
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(LIMIT_S)
        connection.connect(address(server))
        mine = connection.getsockname()[1]
        head = b"GET /api/v1/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
        port = address(server)[1]
        connection.sendall(head % (b"openapi.json", port) * 60 + head % (b"stream", port))
        until(lambda: mine not in peers(admin), "it is let go")
    with httpx.Client(timeout=20) as client:
        assert is_well(server, client)


def peers(process: psutil.Process) -> set[int]:
    """The ports of those who are connected to it."""
    return {each.raddr.port for each in process.net_connections("tcp") if each.raddr}

"""The port: exclusive against others, shared among the gateways, refused with a reason."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import subprocess
import sys

import pytest

from mini_flink.errors import BusyError, ConfigError
from mini_flink.supervisor.listeners import Address, Listeners


def test_a_free_port_is_taken_and_each_gateway_gets_a_socket() -> None:
    listeners = Listeners.open("127.0.0.1", 0)
    listeners.share_among(3)
    fds = {listeners.fd_of(gateway) for gateway in range(3)}
    assert len(fds) == 3
    ports = {socket.socket(fileno=os.dup(fd)).getsockname()[1] for fd in fds}
    assert ports == {listeners.address.port}
    listeners.close()


def test_a_port_in_use_is_refused_with_its_holder_although_it_is_shared() -> None:
    listeners = Listeners.open("127.0.0.1", 0)
    listeners.share_among(2)
    port = listeners.address.port
    with pytest.raises(BusyError, match=rf"port {port} is in use by .*\(pid {os.getpid()}\)") as refused:
        Listeners.open("127.0.0.1", port)
    listeners.close()
    Listeners.open("127.0.0.1", port).close()
    assert re.search(r"--port \d+$", refused.value.help)


def test_the_port_that_is_offered_instead_is_not_taken_as_well() -> None:
    listeners = Listeners.open("127.0.0.1", 0)
    port = listeners.address.port
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody has it already, as well
            stack.enter_context(socket.create_server(("127.0.0.1", port + 1)))
        with pytest.raises(BusyError) as refused:
            Listeners.open("127.0.0.1", port)
        assert f"--port {port + 1}" not in refused.value.help
    listeners.close()


def test_connections_spread_over_the_sockets_of_the_port() -> None:
    listeners = Listeners.open("127.0.0.1", 0)
    listeners.share_among(2)
    clients = [socket.create_connection(listeners.address) for _ in range(40)]
    queued = []
    for gateway in range(2):
        listener = socket.socket(fileno=os.dup(listeners.fd_of(gateway)))
        listener.setblocking(False)
        queued.append(0)
        try:
            while True:
                listener.accept()[0].close()
                queued[-1] += 1
        except BlockingIOError:
            listener.close()
    assert sum(queued) == 40
    assert min(queued) > 5
    for client in clients:
        client.close()
    listeners.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Listeners.open(host, 0)
    assert host in refused.value.message
    assert refused.value.exit_code == 78


def test_an_inherited_socket_is_used_by_all_gateways() -> None:
    code = (
        "import os, socket, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        "from mini_flink.supervisor.listeners import Listeners\n"
        "listeners = Listeners.open('127.0.0.1', 1)\n"
        "listeners.share_among(2)\n"
        "print(listeners.address.port, listeners.fd_of(0), listeners.fd_of(1), 'LISTEN_FDS' in os.environ)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        done = subprocess.run(
            [sys.executable, "-c", code, str(fd)], pass_fds=[fd], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(listener.getsockname()[1]), "3", "3", "False"]


@pytest.mark.parametrize("names", ["http:admin", "admin:http", "admin:mini-flink@orders.socket"])
def test_inherited_sockets_are_told_apart_by_name(names: str) -> None:
    code = (
        "import os, sys\n"
        "for fd in (0, 1): os.dup2(int(sys.argv[1 + fd]), 3 + fd)\n"
        "os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[3])\n"
        "from mini_flink.supervisor.listeners import Listeners\n"
        "listeners = Listeners.open('127.0.0.1', 1)\n"
        "print(listeners.address.port, listeners.take_admin().getsockname()[1], listeners.take_admin())\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        # High numbers, so that neither is where the other is to go.
        fds = [fcntl.fcntl(each, fcntl.F_DUPFD, 50) for each in (one, other)]
        command = [sys.executable, "-c", code, *map(str, fds), names]
        done = subprocess.run(command, pass_fds=fds, capture_output=True, text=True, check=True)
        for fd in fds:
            os.close(fd)
        ports = [str(each.getsockname()[1]) for each in (one, other)]
        data, admin = ports if names.startswith("http") else reversed(ports)
        assert done.stdout.split() == [data, admin, "None"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("example.org", "http://example.org:80"),
    ],
)
def test_the_url_works_here(host: str, url: str) -> None:
    assert Address(host, 80).url == url

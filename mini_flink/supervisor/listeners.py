"""The listening sockets, held by the supervisor so that a gateway that dies refuses nobody.

The first one is taken without sharing, so that a second server on the port is refused; only then is the port
shared, one socket per gateway: each has its own queue, which waits in the supervisor's hands while a gateway
is started again. A socket that systemd hands over is used as it is, by all gateways: its queue is systemd's,
and goes on when the supervisor ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

from mini_flink import procfs
from mini_flink.errors import BusyError, ConfigError

BACKLOG = 2048
LEFTOVER_S = 2.0
_TRIED_PORTS = 20
_POLL_S = 0.02
_FIRST_INHERITED_FD = 3
HTTP, ADMIN, UNNAMED = "http", "admin", "unknown"
SUPERVISOR_TITLE = "mini_flink supervisor"
GATEWAY_TITLE = "mini_flink gateway"
ADMIN_TITLE = "mini_flink admin"


class Address(NamedTuple):
    """Where a server listens; ``host`` as the user named it."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """A URL that works on this host."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - only shown
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"


class Listeners:
    """The sockets of one port; ``fd_of`` gives the one that a gateway listens on."""

    def __init__(
        self,
        first: socket.socket,
        address: Address,
        *,
        inherited: bool,
        admin: socket.socket | None = None,
    ) -> None:
        self.address = address
        self._admin = admin
        self._sockets = [first]
        self._inherited = inherited

    @classmethod
    def open(cls, host: str, port: int) -> Listeners:
        """Take the port (0: any free one), or what systemd has opened; BusyError if it is taken."""
        given = inherited_sockets()
        data = _data_socket(given)
        if data is not None:
            return cls(data, address_of(data), admin=given.get(ADMIN), inherited=True)
        first = take(host, port)
        return cls(first, Address(host, int(first.getsockname()[1])), inherited=False, admin=given.get(ADMIN))

    def share_among(self, gateways: int) -> None:
        """One socket for each gateway."""
        if self._inherited or gateways == 1:
            return
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(1, gateways):
            self._sockets.append(_listen(self.address.host, self.address.port, shared=True))

    def fd_of(self, gateway: int) -> int:
        """The descriptor for the gateway in a slot."""
        return self._sockets[gateway % len(self._sockets)].fileno()

    def take_admin(self) -> socket.socket | None:
        """The socket that systemd has opened for the admin address, once; the caller closes it."""
        admin, self._admin = self._admin, None
        return admin

    def close(self) -> None:
        """Refuse connections from now on."""
        for listener in (*self._sockets, *([self._admin] if self._admin else [])):
            listener.close()


def take(host: str, port: int, *, flags: str = "--") -> socket.socket:
    """Take a port alone (0: any free one); BusyError if it is taken. ``flags`` is how its options begin."""
    give_up = time.monotonic() + LEFTOVER_S
    while True:
        try:
            return _listen(host, port, shared=False, flags=flags)
        except OSError as error:
            holder = procfs.holder_of_port(port) if error.errno == errno.EADDRINUSE else None
            if not _is_leftover(holder) or time.monotonic() > give_up:
                raise _refusal(host, port, error, holder, flags) from error
        time.sleep(_POLL_S)


def inherited_sockets() -> dict[str, socket.socket]:
    """The sockets that systemd hands to this process, by name, taken once; the first of each name.

    A socket unit names its own with FileDescriptorName=: ``http``, ``admin``. One without is called after
    the unit, or by ``unknown``.
    """
    count, pid = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_PID", "")
    if not count.isdigit() or pid != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for variable in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(variable, None)
    found: dict[str, socket.socket] = {}
    for index in range(int(count)):
        fd = _FIRST_INHERITED_FD + index
        os.set_inheritable(fd, False)
        name = names[index] if index < len(names) and names[index] else UNNAMED
        if name in found:
            os.close(fd)
        else:
            found[name] = socket.socket(fileno=fd)
    return found


def _data_socket(found: Mapping[str, socket.socket]) -> socket.socket | None:
    """The one for requests: ``http``, or the first that is not for something else."""
    return found.get(HTTP) or next((one for name, one in found.items() if name != ADMIN), None)


def address_of(inherited: socket.socket) -> Address:
    """Where a socket that systemd hands over listens; ConfigError if it is none of TCP."""
    if inherited.family not in (socket.AF_INET, socket.AF_INET6) or inherited.type != socket.SOCK_STREAM:
        raise ConfigError(
            "the socket that systemd hands over is none of TCP",
            help="let its unit say ListenStream=127.0.0.1:7071",
        )
    return Address(*inherited.getsockname()[:2])


def _listen(host: str, port: int, *, shared: bool, flags: str = "--") -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(
            f"host {host!r} is not known: {error.strerror}", help=f"try {flags}host 127.0.0.1"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_leftover(holder: int | None) -> bool:
    """A gateway (or an admin process) whose supervisor has died: it is about to leave."""
    if holder is None or not procfs.name_of(holder).startswith((GATEWAY_TITLE, ADMIN_TITLE)):
        return False
    parent = procfs.parent_of(holder)
    return parent is None or not procfs.name_of(parent).startswith(SUPERVISOR_TITLE)


def _free_port(host: str, taken: int) -> int:
    """The next one that can be had at this moment; 0, which takes any, if there is none near."""
    for port in range(taken + 1, min(taken + 1 + _TRIED_PORTS, 65536)):
        with contextlib.suppress(OSError):
            _listen(host, port, shared=False).close()
            return port
    return 0


def _refusal(host: str, port: int, error: OSError, holder: int | None, flags: str) -> ConfigError | BusyError:
    if error.errno == errno.EADDRINUSE:
        by = "" if holder is None else f' by "{procfs.name_of(holder)}" (pid {holder})'
        return BusyError(
            f"port {port} is in use{by}",
            help=f"stop it, or choose another: {flags}port {_free_port(host, port)}",
        )
    if error.errno == errno.EACCES:
        help = f"choose one over 1023, as in {flags}port 7071"
        return ConfigError(f"port {port} needs privileges", help=help)
    return ConfigError(
        f"cannot listen on {host} port {port}: {error.strerror}", help=f"try {flags}host 127.0.0.1"
    )

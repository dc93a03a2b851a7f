"""The supervisor's side of the admin process: its socket, its token, and that it is there.

The socket is taken at the start, so that a port that cannot be had is refused at once, and held here while
the process is started again. Nothing that becomes of that process is a reason to stop serving, or to wait.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from mini_flink import console
from mini_flink.config import Settings
from mini_flink.errors import BusyError, ConfigError, StorageError, storage_error
from mini_flink.limits import Limits
from mini_flink.spec import AdminSpec
from mini_flink.supervisor.listeners import Address, address_of, take
from mini_flink.supervisor.members import GONE, READY, WAITING, Origin, describe_exit
from mini_flink.supervisor.spec import ServerPlan

FIRST_DELAY_MS = 100
LONGEST_DELAY_MS = 30_000
HEALTHY_MS = 10_000
MODULE = "mini_flink.admin"
SHORTEST_TOKEN = 16
_FLAGS = "--admin-"


@dataclass(frozen=True, slots=True)
class AdminDoor:
    """Where the admin process listens, and what it wants to be shown."""

    listener: socket.socket
    address: Address
    token: str

    @property
    def url(self) -> str:
        return self.address.url

    def close(self) -> None:
        """Refuse connections from now on."""
        self.listener.close()


def open_door(settings: Settings, origin: Origin, inherited: socket.socket | None = None) -> AdminDoor:
    """Take the port. One that is taken is refused if somebody asked for it, else a free one is taken.

    A socket that was ``inherited`` is listened on instead.
    """
    host, port = settings.admin_host, settings.admin_port
    if inherited is not None:
        host, port = address_of(inherited)
    token = token_of(settings, origin)
    Limits.read(settings.admin_limits)  # a mistake in it is told now
    if not token and not is_loopback(host):
        raise ConfigError(
            f"{_FLAGS}host {host} lets others than this host operate the server, and there is no token",
            help=f"name a file that holds one: {_FLAGS}token-file FILE",
        )
    if inherited is not None:
        return AdminDoor(inherited, Address(host, port), token)
    try:
        listener = take(host, port, flags=_FLAGS)
    except BusyError:
        if settings.origin("admin_port") != "default":
            raise
        listener = take(host, 0, flags=_FLAGS)
    return AdminDoor(listener, Address(host, int(listener.getsockname()[1])), token)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this host only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def token_of(settings: Settings, origin: Origin) -> str:
    """What is in the file of the setting, or in the credential of systemd; empty if there is none."""
    path = settings.admin_token_file
    if path is None:
        folder = origin.environment.get("CREDENTIALS_DIRECTORY", "")
        path = os.path.join(folder, "admin-token")
        if not folder or not os.path.exists(path):
            return ""
    path = os.path.join(origin.directory, path)
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the token in {path} cannot be read: {error}", help="it is one line of ASCII letters and digits"
        ) from error
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token in {path} is too short, or no single word",
            help=f"make one of at least {SHORTEST_TOKEN} characters: openssl rand -hex 32 > {path}",
        )
    return token


class AdminKeeper:
    """Keeps the admin process running, from ``begin`` to ``close``; with each death it waits longer."""

    def __init__(self, door: AdminDoor, plan: ServerPlan, url: str, origin: Origin) -> None:
        self._door = door
        self._plan = plan
        self._server_url = url
        self._origin = origin
        self._alive_reader, self._alive_writer = os.pipe()
        self._child: subprocess.Popen[bytes] | None = None
        self._start_at_ms: int | None = None
        self._started_ms = 0
        self._deaths_in_a_row = 0
        self._starts = 0
        self._last_exit = ""
        self.exit_fd = -1
        """Readable when the process has ended; -1 if there is none."""

    @property
    def url(self) -> str:
        return self._door.url

    def begin(self, now_ms: int) -> None:
        """The server serves: the process may start."""
        self._start_at_ms = now_ms

    def due_ms(self) -> int | None:
        """When ``step`` is to be called, if nothing happens before."""
        return self._start_at_ms

    def step(self, now_ms: int) -> None:
        """See whether the process has ended, and start it when that is due."""
        if self._child is not None and self._child.poll() is not None:
            self._take_exit(self._child, now_ms)
        if self._start_at_ms is not None and self._start_at_ms <= now_ms:
            self._start(now_ms)

    def _take_exit(self, child: subprocess.Popen[bytes], now_ms: int) -> None:
        os.close(self.exit_fd)
        self._child, self.exit_fd = None, -1
        self._last_exit = describe_exit(child.returncode)
        healthy = now_ms - self._started_ms >= HEALTHY_MS
        self._deaths_in_a_row = 0 if healthy else self._deaths_in_a_row + 1
        self._wait(now_ms)
        console.event(
            "warn",
            f"admin (pid {child.pid}) died: {self._last_exit}   requests are served as before",
            name="admin.died",
            pid=child.pid,
            cause=self._last_exit,
        )

    def _wait(self, now_ms: int) -> None:
        self._start_at_ms = now_ms + min(LONGEST_DELAY_MS, FIRST_DELAY_MS << min(self._deaths_in_a_row, 16))

    def _start(self, now_ms: int) -> None:
        self._start_at_ms = None
        self._started_ms = now_ms
        try:
            path = self._write_spec()
            self._child = subprocess.Popen(
                [sys.executable, "-m", MODULE, path],
                stdin=subprocess.DEVNULL,
                pass_fds=(self._alive_reader, self._door.listener.fileno()),
                process_group=0,
                cwd=self._origin.directory,
                env=self._origin.environment,
            )
        except (OSError, StorageError) as error:
            self._deaths_in_a_row += 1
            self._wait(now_ms)
            console.event("warn", f"admin must wait: {error}", name="process.waits")
            return
        self._starts += 1
        self.exit_fd = os.pidfd_open(self._child.pid)

    def _write_spec(self) -> str:
        plan, address = self._plan, self._door.address
        spec = AdminSpec(
            job=plan.job_name,
            url=self._server_url,
            admin_url=address.url,
            host=address.host,
            port=address.port,
            token=self._door.token,
            data_dir=plan.data_dir,
            console_lock=plan.console_lock,
            log=plan.settings.log,
            listen_fd=self._door.listener.fileno(),
            alive_fd=self._alive_reader,
            payloads=plan.settings.admin_payloads,
            limits=plan.settings.admin_limits or "",
        )
        path = os.path.join(plan.runtime_dir, "admin.json")
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(asdict(spec), file)
        except OSError as error:
            raise storage_error(path, error) from error
        return path

    def report(self) -> dict[str, Any]:
        """For ``status``: as any other process."""
        state = READY if self._child else WAITING if self._start_at_ms is not None else GONE
        return {
            "role": "admin",
            "index": 0,
            "pid": self._child.pid if self._child else None,
            "restarts": max(0, self._starts - 1),
            "incarnation": self._starts,
            "state": state,
            "last_exit": self._last_exit,
            "metrics": "",
            "counters": {},
            "silent_ms": None,
        }

    def close(self) -> None:
        """End it at once: nothing is lost with it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            os.close(self.exit_fd)
        os.close(self._alive_writer)
        os.close(self._alive_reader)

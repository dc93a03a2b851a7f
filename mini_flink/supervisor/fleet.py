"""All processes of one run: starting them with their specs, and talking to them.

A start is always: next incarnation durable, everybody told, then the process. Decides nothing: see ``loop``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mini_flink import procfs, progress, wire
from mini_flink.faults import crash_point
from mini_flink.folder import DataFolder
from mini_flink.ids import SUPERVISOR, gateway_name, worker_name
from mini_flink.supervisor.hangs import HangWatch
from mini_flink.supervisor.listeners import Listeners
from mini_flink.supervisor.members import CHILD_MODULES, STARTING, Member, Origin
from mini_flink.supervisor.spec import ServerPlan, build_spec, remove_remains, write_spec
from mini_flink.transport.base import Transport


class Fleet:
    """The members of one run and the supervisor's pipes to them."""

    def __init__(
        self,
        plan: ServerPlan,
        folder: DataFolder,
        listeners: Listeners,
        transport: Transport,
        origin: Origin,
        child_modules: Mapping[str, str] = CHILD_MODULES,
    ) -> None:
        self.incarnation = 0
        self._plan = plan
        self._folder = folder
        self._listeners = listeners
        self._transport = transport
        self._origin = origin
        self._child_modules = child_modules
        self.workers = [self._member("worker", worker_name(index), index) for index in range(plan.workers)]
        self.gateways = [self._member("gateway", gateway_name(slot), slot) for slot in range(plan.gateways)]
        self._by_name = {member.name: member for member in self}
        self._alive_reader, self._alive_writer = os.pipe()
        self._endpoint = ""

    def __iter__(self) -> Iterator[Member]:
        yield from self.workers
        yield from self.gateways

    def _member(self, role: str, name: str, index: int) -> Member:
        page_path = self._folder.page_path(name)
        progress.reset_counters(page_path)
        watch = HangWatch(self._plan.settings.hang_timeout_ms)
        return Member(role, index, name, progress.PageReader(page_path), watch)

    def sender_of(self, message: wire.Control) -> Member | None:
        """Who sent a message; None if it is not, or no longer, one of the running processes."""
        member = self._by_name.get(message.sender)
        if member is None or not member.running or message.incarnation != member.incarnation:
            return None
        return member

    # --- starting ---------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Open the supervisor's own inbox, say where it is, and start everything."""
        raised = self._folder.raise_incarnations([SUPERVISOR, *self._by_name])
        self.incarnation = raised[SUPERVISOR]
        self._endpoint = self._plan.endpoint(SUPERVISOR, self.incarnation)
        self._transport.bind(self._endpoint)
        self._folder.write_run(self._run_record())
        self._start(list(self), raised)

    def start(self, starting: Sequence[Member]) -> None:
        """Start processes whose predecessors are dead. StorageFullError: try again later."""
        self._start(starting, self._folder.raise_incarnations(member.name for member in starting))

    def _run_record(self) -> dict[str, Any]:
        me = procfs.current_process()
        return {
            "pid": me.pid,
            "start_time": me.start_time,
            "job": self._plan.job_name,
            "url": self._listeners.address.url,
            "port": self._listeners.address.port,
            "runtime_dir": self._plan.runtime_dir,
            "supervisor_endpoint": self._endpoint,
            "generation": self._plan.generation,
        }

    def _start(self, starting: Sequence[Member], raised: Mapping[str, int]) -> None:
        crash_point("after_incarnation_raised")
        for member in starting:
            remove_remains(self._plan, member.name, member.incarnation)
            member.incarnation = raised[member.name]
            member.endpoint = self._plan.endpoint(member.name, member.incarnation)
            member.watch = HangWatch(self._plan.settings.hang_timeout_ms)
            self._transport.connect(member.name, member.endpoint)
        peers = {member.name: [member.incarnation, member.endpoint] for member in self}
        self.send([member for member in self if member.running], wire.PEERS, peers)
        for member in starting:
            self._launch(member, peers)

    def _launch(self, member: Member, peers: Mapping[str, list[Any]]) -> None:
        listen_fd = self._listeners.fd_of(member.index) if member.role == "gateway" else -1
        spec = build_spec(
            self._plan,
            self._folder,
            member,
            supervisor_endpoint=self._endpoint,
            peers=peers,
            alive_fd=self._alive_reader,
            listen_fd=listen_fd,
        )
        path = write_spec(self._plan, spec)
        fds = [fd for fd in (self._alive_reader, listen_fd) if fd >= 0]
        member.start(self._child_modules[member.role], path, fds, self._origin)
        member.state = STARTING

    # --- talking ----------------------------------------------------------------------------------------

    def control(self, kind: int, data: dict[str, Any]) -> bytes:
        """A message from the supervisor."""
        return wire.encode_control(kind, SUPERVISOR, self.incarnation, self._plan.generation, data)

    def send(self, receivers: Iterable[Member], kind: int, data: dict[str, Any]) -> None:
        """Send to each, or keep it until there is room; a later message of a kind replaces a waiting one."""
        message = self.control(kind, data)
        for member in receivers:
            self._send(member, kind, message)

    def _send(self, member: Member, kind: int, message: bytes) -> None:
        member.unsent.pop(kind, None)
        if not self._transport.send(member.name, message):
            member.unsent[kind] = message

    def send_unsent(self) -> None:
        """Try again what found no room."""
        for member in self:
            for kind, message in list(member.unsent.items()):
                self._send(member, kind, message)

    # --- the end ----------------------------------------------------------------------------------------

    def refuse_connections(self) -> None:
        """Let go of the port: when the gateways have done so too, nobody waits in a queue for nothing."""
        self._listeners.close()

    def reap(self, member: Member) -> int:
        """Take the exit status of a process that has ended; nothing more is sent to it."""
        self._transport.disconnect(member.name)
        member.unsent.clear()
        return member.reap()

    def close(self) -> None:
        """Nothing of the run is left when this returns."""
        for member in self:
            member.kill()
        for member in self:
            if member.running:
                self.reap(member)
            member.page.close()
        os.close(self._alive_writer)
        os.close(self._alive_reader)

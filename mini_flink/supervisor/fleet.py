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
from mini_flink.spec import SERVE
from mini_flink.supervisor.hangs import HangWatch
from mini_flink.supervisor.listeners import Listeners
from mini_flink.supervisor.members import CHILD_MODULES, STARTING, Member, Origin, Spare
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
        *,
        admin_url: str | None = None,
    ) -> None:
        self.incarnation = 0
        self.plan = plan
        self._drafts: dict[int, ServerPlan] = {}
        self._folder = folder
        self._listeners = listeners
        self._transport = transport
        self._origin = origin
        self._child_modules = child_modules
        self._admin_url = admin_url
        self.workers = [self.new_worker(index, plan) for index in range(plan.workers)]
        self.gateways = [self.new_gateway(slot, plan) for slot in range(plan.gateways)]
        self.others: list[Member] = []
        """The next generation while it is being made, and whoever makes it."""
        self.retired: list[Member] = []
        """Those that a generation had and the one that counts has not: what they counted still counts."""
        self.draining = False
        """Whether gateways that are started from now on refuse whoever comes."""
        self._spares: dict[str, list[Spare]] = {}
        self._alive_reader, self._alive_writer = os.pipe()
        self._endpoint = ""

    def __iter__(self) -> Iterator[Member]:
        yield from self.workers
        yield from self.gateways
        yield from self.others

    def new_worker(self, index: int, plan: ServerPlan, mode: str = SERVE) -> Member:
        """A worker of ``plan``'s generation, not yet started."""
        return self._member("worker", worker_name(index), index, plan, mode)

    def new_gateway(self, slot: int, plan: ServerPlan, mode: str = SERVE) -> Member:
        """A gateway of ``plan``'s generation, not yet started."""
        return self._member("gateway", gateway_name(slot), slot, plan, mode)

    def new_resharder(self, plan: ServerPlan, task: Mapping[str, Any]) -> Member:
        """The process that makes the next generation's folders, not yet started."""
        member = self._member("resharder", "resharder", 0, plan, SERVE)
        member.task = task
        return member

    def _member(self, role: str, name: str, index: int, plan: ServerPlan, mode: str) -> Member:
        # Two generations may have workers of one name at a time.
        place = f"{name}.g{plan.generation}" if role == "worker" else name
        page_path = self._folder.page_path(place)
        if self.incarnation:  # counters go on, what the last generation died at is over
            progress.forget_death(page_path)
        else:
            progress.reset_counters(page_path)
        watch = HangWatch(plan.settings.hang_timeout_ms)
        reader = progress.PageReader(page_path)
        return Member(role, index, name, reader, watch, page_path, generation=plan.generation, mode=mode)

    # --- generations ------------------------------------------------------------------------------------

    def draft(self, plan: ServerPlan) -> None:
        """A next generation is being made: its members follow ``plan``."""
        self._drafts[plan.generation] = plan

    def plan_of(self, member: Member) -> ServerPlan:
        """The plan that a member follows."""
        return self._drafts.get(member.generation, self.plan)

    def switch(self, plan: ServerPlan, workers: list[Member], gateways: list[Member]) -> list[Member]:
        """From now on these are the server; who was it before, and is to leave."""
        now = {*workers, *gateways}
        leaving = [member for member in (*self.workers, *self.gateways) if member not in now]
        self.retired += leaving
        self.plan = plan
        self.workers, self.gateways = workers, gateways
        self._drafts.clear()
        self.others = [member for member in (*self.others, *leaving) if member not in now]
        return leaving

    def drop(self, member: Member) -> None:
        """One of the others has ended and is not to come back."""
        self.others = [other for other in self.others if other is not member]
        if member not in self.retired:
            member.page.close()

    def peers_of(self, member: Member) -> dict[str, list[Any]]:
        """Where those listen that a member may hear of: no workers of another generation."""
        return {
            other.name: [other.incarnation, other.endpoint]
            for other in self
            if other.role == "gateway" or (other.role == "worker" and other.generation == member.generation)
        }

    def sender_of(self, message: wire.Control) -> Member | None:
        """Who sent a message; None if it is not, or no longer, one of the running processes."""
        who = (message.sender, message.incarnation)
        return next(
            (member for member in self if member.running and (member.name, member.incarnation) == who), None
        )

    # --- spares -----------------------------------------------------------------------------------------

    def prepare(self, plan: ServerPlan, times: int) -> None:
        """Let the workers of ``plan`` load its job in advance, for so many starts."""
        for index in range(plan.workers):
            task = {
                "job": plan.job.as_dict(),
                "sources": plan.sources,
                "label": f"worker {index}",
                "log": plan.settings.log,
                "job_name": plan.job_name,
                "console_lock": plan.console_lock,
            }
            self._spares[worker_name(index)] = [
                Spare(self._child_modules["worker"], task, self._alive_reader, self._origin)
                for _ in range(times)
            ]

    def end_spares(self) -> None:
        """Those that were prepared and are not needed."""
        for spare in [spare for spares in self._spares.values() for spare in spares]:
            spare.end()
        self._spares.clear()

    # --- starting ---------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Open the supervisor's own inbox, say where it is, and start everything."""
        raised = self._folder.raise_incarnations([SUPERVISOR, *(member.name for member in self)])
        self.incarnation = raised[SUPERVISOR]
        self._endpoint = self.plan.endpoint(SUPERVISOR, self.incarnation)
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
            "job": self.plan.job_name,
            "url": self._listeners.address.url,
            "port": self._listeners.address.port,
            "admin_url": self._admin_url,
            "runtime_dir": self.plan.runtime_dir,
            "supervisor_endpoint": self._endpoint,
            "generation": self.plan.generation,
        }

    def _start(self, starting: Sequence[Member], raised: Mapping[str, int]) -> None:
        crash_point("after_incarnation_raised")
        for member in starting:
            plan = self.plan_of(member)
            remove_remains(plan, member.name, member.incarnation)
            member.incarnation = raised[member.name]
            member.endpoint = plan.endpoint(member.name, member.incarnation)
            member.watch = HangWatch(plan.settings.hang_timeout_ms)
            self._transport.connect(member.address, member.endpoint)
        self.tell_peers(member for member in self if member.running and member.role != "resharder")
        for member in starting:
            self._launch(member)

    def tell_peers(self, members: Iterable[Member]) -> None:
        """Say where everybody listens now."""
        for member in members:
            self.send([member], wire.PEERS, self.peers_of(member))

    def _launch(self, member: Member) -> None:
        plan = self.plan_of(member)
        listen_fd = self._listeners.fd_of(member.index) if member.role == "gateway" else -1
        slots = [other.index for other in self if other.role == "gateway"]
        spec = build_spec(
            plan,
            self._folder,
            member,
            supervisor_endpoint=self._endpoint,
            peers=self.peers_of(member),
            gateway_slots=max(slots, default=0) + 1,
            alive_fd=self._alive_reader,
            listen_fd=listen_fd,
            page_url=self._admin_url or "",
            draining=self.draining,
        )
        path = write_spec(plan, spec)
        fds = [fd for fd in (self._alive_reader, listen_fd) if fd >= 0]
        spares = self._spares.get(member.name) if member in self.others else None
        spare = spares.pop(0) if spares else None
        member.start(self._child_modules[member.role], path, fds, self._origin, spare)
        member.state = STARTING

    # --- talking ----------------------------------------------------------------------------------------

    def control(self, kind: int, data: dict[str, Any]) -> bytes:
        """A message from the supervisor."""
        return wire.encode_control(kind, SUPERVISOR, self.incarnation, self.plan.generation, data)

    def send(self, receivers: Iterable[Member], kind: int, data: dict[str, Any]) -> None:
        """Send to each, or keep it until there is room; a later message of a kind replaces a waiting one."""
        message = self.control(kind, data)
        for member in receivers:
            self._send(member, kind, message)

    def _send(self, member: Member, kind: int, message: bytes) -> None:
        member.unsent.pop(kind, None)
        if not self._transport.send(member.address, message):
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
        self._transport.disconnect(member.address)
        member.unsent.clear()
        return member.reap()

    def close(self) -> None:
        """Nothing of the run is left when this returns."""
        self.end_spares()
        for member in self:
            member.kill()
        for member in self:
            if member.running:
                self.reap(member)
        for member in {*self, *self.retired}:
            member.page.close()
        os.close(self._alive_writer)
        os.close(self._alive_reader)

"""The supervisor's loop: it watches the processes of one run, starts them again, and stops them.

One thread owns everything. It sleeps until a child ends, a message or a signal comes, or something is due.
A process is started again only after its predecessor's exit was seen. Never touches a record: what it knows
of the work it reads from progress pages. Called by ``runners.server``.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mini_flink import console, procfs, wire
from mini_flink.core.restarts import GiveUp
from mini_flink.errors import (
    EXIT_CONFIG,
    DecodeError,
    IncompatibleError,
    StorageError,
    StorageFullError,
)
from mini_flink.folder import DataFolder
from mini_flink.supervisor import words
from mini_flink.supervisor.admin import AdminKeeper
from mini_flink.supervisor.changeover import RELOAD
from mini_flink.supervisor.changes import ChangeDirector
from mini_flink.supervisor.desk import Desk, Handler, Question
from mini_flink.supervisor.drain import DrainDirector
from mini_flink.supervisor.events import EventRing
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.hangs import Stuck
from mini_flink.supervisor.members import GONE, READY, STARTING, STOPPING, WAITING, Member, describe_exit
from mini_flink.supervisor.notify import ServiceManager
from mini_flink.supervisor.questions import OF_WORKERS
from mini_flink.supervisor.reloader import Reloader
from mini_flink.supervisor.report import build_report, ever, pending_requests, total
from mini_flink.supervisor.signals import SignalPipe
from mini_flink.supervisor.snapshots import SnapshotDirector
from mini_flink.supervisor.spec import ServerPlan
from mini_flink.transport.base import Transport
from mini_flink.worker.background import ThreadBackground

SERVING, LEAVING, ENDED = "serving", "leaving", "ended"

EXIT_INTERRUPTED = 130
LOOK_MS = 1_000
RETRY_SEND_MS = 20
RETRY_START_MS = 1_000
STOP_MARGIN_MS = 2_000
SLOW_START_MS = 1_000
SLOW_START_REPEAT_MS = 5_000
_RECEIVE_LIMIT = 100
DIED = {"worker": "worker.died", "gateway": "gateway.died"}
BACK = {"worker": "worker.back", "gateway": "gateway.back"}
_KNOWN_EXITS = range(64, 79)


class Supervisor:
    """One run of a server; ``run`` returns the exit code of the command."""

    def __init__(
        self,
        plan: ServerPlan,
        folder: DataFolder,
        fleet: Fleet,
        transport: Transport,
        *,
        url: str,
        banner: Callable[[int], str],
        background: ThreadBackground,
        admin: AdminKeeper | None = None,
        reloader: Reloader | None = None,
    ) -> None:
        self._settings = plan.settings
        self._folder = folder
        self._fleet = fleet
        self._transport = transport
        self._url = url
        self._banner = banner
        self._background = background
        self._admin = admin
        self._reloader = reloader
        self._events = EventRing()
        self._snapshots = SnapshotDirector(plan, folder, fleet, background, self._events)
        self._state = STARTING
        self._exit_code = 0
        self._began_ms = self._now_ms = _monotonic_ms()
        self._manager = ServiceManager(self._now_ms)
        self._look_due_ms = self._now_ms
        self._slow_start_due_ms = self._now_ms + SLOW_START_MS
        self._kill_due_ms: int | None = None
        self._stop_began_ms = 0
        self._left_cleanly = True
        self._redone = 0
        self._last_wait = ""
        self._warnings: set[str] = set()
        self._last_failure: dict[str, Any] | None = None
        self._door = DrainDirector(fleet, self._events, self._begin_stop)
        self._changes = ChangeDirector(folder, fleet, self._snapshots, self._events, self._changed)
        self._desk = Desk(transport, fleet, self._handlers(), self._report)

    # --- the loop ---------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop, or until it makes no sense to go on.

        IncompatibleError if a worker, before anything was served, finds that the job does not fit its state.
        """
        with SignalPipe() as signals:
            self._fleet.start_all()
            while self._state != ENDED:
                self.step(signals)
        return self._exit_code

    def step(self, signals: SignalPipe) -> None:
        """Sleep until something is to be done, and do it."""
        self._now_ms = _monotonic_ms()
        exits = {member.exit_fd: member for member in self._fleet if member.running}
        fds = [signals.fileno(), self._background.fileno(), *exits]
        if self._admin is not None and self._admin.exit_fd >= 0:
            fds.append(self._admin.exit_fd)
        ready = self._transport.wait(self._sleep_ms(), fds)
        self._now_ms = _monotonic_ms()
        # Messages first: what a process said before it ended explains its end.
        for message in self._transport.receive(_RECEIVE_LIMIT):
            self._take_message(message)
        for number in signals.received() if signals.fileno() in ready else ():
            self._take_signal(number)
        for fd in ready & exits.keys():
            if self._state != ENDED:
                self._take_exit(exits[fd])
        if self._state != ENDED:
            self._do_what_is_due()
            self._tell_manager()

    def _sleep_ms(self) -> int:
        due = [self._look_due_ms, self._kill_due_ms, self._desk.due_ms()]
        due.append(self._door.due_ms())
        due.append(self._snapshots.due_ms(self._now_ms))
        due.append(self._manager.due_ms(in_between=self._state != SERVING))
        due.append(self._admin.due_ms() if self._admin else None)
        due.append(self._changes.due_ms())
        if self._reloader is not None and (self._is_reloading or self._may_reload):
            due.append(self._reloader.due_ms())
        due += [member.start_at_ms for member in self._fleet if member.state == WAITING]
        if any(member.unsent for member in self._fleet):
            due.append(self._now_ms + RETRY_SEND_MS)
        return max(0, min(at_ms for at_ms in due if at_ms is not None) - self._now_ms)

    def _do_what_is_due(self) -> None:
        now_ms = self._now_ms
        starting = [
            member for member in self._fleet if member.state == WAITING and _due(member.start_at_ms, now_ms)
        ]
        if starting:
            self._start(starting)
        self._fleet.send_unsent()
        self._snapshots.step(now_ms, serving=self._state == SERVING)
        if self._admin is not None:
            self._admin.step(now_ms)
        self._changes.step(now_ms)
        self._step_reloader()
        if _due(self._look_due_ms, now_ms):
            self._look()
        self._desk.step(now_ms)
        self._door.step(now_ms)
        if _due(self._kill_due_ms, now_ms):
            self._kill_due_ms = None
            for member in self._leaving():
                member.kill("it did not stop in time")

    def _start(self, starting: Sequence[Member]) -> None:
        try:
            self._fleet.start(starting)
        except StorageFullError as error:
            text = f"{', '.join(member.title for member in starting)} must wait: {error.message}"
            if text != self._last_wait:  # it is tried again every second, and said once
                console.event("warn", text, name="process.waits")
            self._last_wait = text
            for member in starting:
                if not member.running:
                    member.start_at_ms = self._now_ms + RETRY_START_MS
        else:
            self._last_wait = ""

    # --- messages ---------------------------------------------------------------------------------------

    def _take_message(self, data: bytes) -> None:
        try:
            message = wire.decode(data)
        except DecodeError as error:
            console.event("warn", f"a message was not understood: {error.message}", name="message.unknown")
            return
        if not isinstance(message, wire.Control):
            return
        if message.kind in (wire.STATUS, wire.ASK):
            self._desk.take(message, self._now_ms)
            return
        member = self._fleet.sender_of(message)
        if member is None:
            return
        if self._changes.take_message(member, message, self._now_ms):
            return
        if message.kind == wire.READY:
            self._take_ready(member, message.data)
        elif message.kind == wire.LOOKED:
            self._desk.take_answer(member.name, message.data, self._now_ms)
        elif message.kind == wire.BURIED:
            self._last_failure = dict(message.data)
        elif message.kind in (wire.DOOR_SET, wire.DRAINED):
            self._door.take(member, message, self._now_ms)
        elif message.kind == wire.SNAPSHOT_PART:
            self._snapshots.take_part(member, message.data, self._now_ms)
        elif message.kind == wire.FAILED:
            if self._state == STARTING and "unfit" in message.data:
                raise IncompatibleError(str(message.data["unfit"]))
            self._fail(str(message.data["text"]), int(message.data["exit_code"]))

    def _take_ready(self, member: Member, data: Mapping[str, Any]) -> None:
        member.policy.ready(self._now_ms)
        if member.state == STARTING:
            member.state = READY
        redone = int(data.get("redone", 0))
        self._redone += redone
        for warning in data.get("warnings", ()):
            if warning not in self._warnings:
                self._warnings.add(warning)
                console.event("warn", warning, name="start.warned")
        if member.died_at_ms is not None and member.pid is not None:
            seconds = (self._now_ms - member.died_at_ms) / 1000
            text = words.came_back(member.title, member.pid, seconds, redone)
            back: dict[str, Any] = {
                "which": member.title,
                "pid": member.pid,
                "seconds": seconds,
                "redone": redone,
            }
            console.event("ok", text, name=BACK[member.role], **back)
            self._events.note(BACK[member.role], "ok", text, member.name)
            member.died_at_ms = None
        if not self._changes.kind:
            self._door.ready(member, self._now_ms)
        if self._state == STARTING and all(each.state == READY for each in self._fleet):
            self._serve()

    def _serve(self) -> None:
        """Everything is up: only now may anyone say so."""
        self._state = SERVING
        self._folder.mark_ready(self._settings.durability)
        console.say(
            self._banner(self._redone),
            name="server.ready",
            url=self._url,
            workers=self._fleet.plan.workers,
            gateways=self._fleet.plan.gateways,
            durability=self._settings.durability,
            data_dir=self._fleet.plan.data_dir,
            redone=self._redone,
        )
        self._manager.ready(self._status_line())
        self._events.note("server.ready", "ok", f"serving {self._url}")
        if self._admin is not None:
            self._admin.begin(self._now_ms)

    def _fail(self, text: str, exit_code: int) -> None:
        """No restart will help. What was answered is committed: the processes are just killed."""
        if self._state != ENDED:
            console.say(text.rstrip("\n"), name="server.failed", level="error", exit_code=exit_code)
            self._exit_code = exit_code
            self._state = ENDED
            self._unbind_folder()

    def _unbind_folder(self) -> None:
        """If not all workers were ready, and no gateway, nothing was let in: the folder need not remember."""
        ready = [member.policy.was_ready for member in self._fleet if member.role == "worker"]
        served = any(member.policy.was_ready for member in self._fleet if member.role == "gateway")
        if not all(ready) and not served:
            with contextlib.suppress(StorageError):  # then it stays bound, which is the safe side
                self._folder.mark_refused()

    # --- what the command line asks for -----------------------------------------------------------------

    def _handlers(self) -> dict[str, Handler]:
        """What may be asked, and who answers it."""
        return {
            "savepoint": self._serving(self._take_savepoint),
            "rescale": self._serving(self._change),
            "upgrade": self._serving(self._change),
            "cancel": self._cancel_change,
            "drain": self._serving(self._set_door),
            "resume": self._serving(self._set_door),
            **dict.fromkeys(OF_WORKERS, self._serving(self._ask_workers)),
        }

    def _serving(self, handler: Handler) -> Handler:
        """Only a server that has started, and is not about to end, does what ``handler`` does."""

        def handle(question: Question) -> None:
            if self._state == SERVING:
                handler(question)
            else:
                question.refuse(
                    f"the server is {self._shown_state()}",
                    help="see when it serves: python -m mini_flink status",
                )

        return handle

    def _take_savepoint(self, question: Question) -> None:
        if self._changes.kind:
            question.refuse(f"the server is changed by {self._changes.kind}", help="ask when it is over")
            return
        self._snapshots.ask(question.data.get("location"), question.answer, question.tell, question.by)

    def _ask_workers(self, question: Question) -> None:
        if self._changes.kind:
            question.refuse("the server is being rescaled or upgraded", help="ask again in a moment")
            return

        def answer(told: Mapping[str, Any]) -> None:
            if question.data["do"] in OF_WORKERS[question.what].gives_work:
                self._door.disturbed(self._now_ms)
            self._say_settled(question, told)
            question.answer(told)

        self._desk.ask_workers(replace(question, answer=answer))

    def _say_settled(self, question: Question, told: Mapping[str, Any]) -> None:
        """What somebody had done with dead letters; looking changes nothing and is not said."""
        done = {"retry": "retried", "drop": "dropped"}.get(question.data["do"])
        if question.what == "dead_letters" and done and told["ok"]:
            said = f"{words.count(told[done], 'dead letter')} {done}{question.by}, {told['skipped']} skipped"
            facts = {done: told[done], "skipped": told["skipped"]}
            console.event("info", said, name="dead_letters.settled", **facts)
            self._events.note("dead_letters.settled", "info", said)

    def _set_door(self, question: Question) -> None:
        if self._changes.kind:
            question.refuse(f"the server is changed by {self._changes.kind}", help="ask when it is over")
        elif question.what == "drain":
            self._door.ask(question, self._now_ms)
        else:
            self._door.resume(question, self._now_ms)

    def _change(self, question: Question) -> None:
        if self._door.under_way:
            question.refuse("the server is being drained", help="ask when it is drained, or resume first")
        else:
            self._changes.begin(question, self._now_ms)

    def _changed(self) -> None:
        self._door.changed(self._now_ms)

    def _cancel_change(self, question: Question) -> None:
        self._changes.cancel(question, self._now_ms)

    def _step_reloader(self) -> None:
        if self._reloader is None:
            return
        plan, now_ms = self._fleet.plan, self._now_ms
        if self._is_reloading:
            reason = self._reloader.step_loading(plan, self._changes.sources, now_ms)
            if reason:
                self._changes.call_off_loading(reason, now_ms)
        elif self._may_reload:
            question = self._reloader.step(plan, now_ms)
            if question is not None:
                self._change(question)

    @property
    def _is_reloading(self) -> bool:
        return self._state == SERVING and self._changes.kind == RELOAD

    @property
    def _may_reload(self) -> bool:
        return self._state == SERVING and not self._changes.kind and not self._door.under_way

    def _report(self) -> dict[str, Any]:
        return build_report(
            self._fleet.plan,
            [*self._fleet.workers, *self._fleet.gateways],
            self._fleet.retired,
            state=self._shown_state(),
            url=self._url,
            incarnation=self._fleet.incarnation,
            uptime_ms=self._now_ms - self._began_ms,
            snapshots=self._snapshots.report(),
            restored=self._restored(),
            admin=self._admin,
            events=self._events,
            last_failure=self._last_failure,
        )

    def _restored(self) -> dict[str, str] | None:
        record = self._folder.record
        if not record.restored:
            return None
        because, since = record.restored_because, record.lost_since
        return {"snapshot": record.restored, "reason": because, "lost_since": since}

    def _shown_state(self) -> str:
        if self._state != SERVING:
            return STOPPING if self._state == LEAVING else self._state
        state = (self._door.shown or SERVING) + self._changes.shown
        if state == SERVING and any(member.state != READY for member in self._fleet):
            return "degraded"
        return state

    # --- the service manager ----------------------------------------------------------------------------

    def _tell_manager(self) -> None:
        if not self._manager.listens:
            return
        waited_for = [
            member.pid
            for member in (*self._fleet.workers, *self._fleet.gateways)
            if member.pid is not None and (member.state in (STARTING, STOPPING) or member.ended)
        ]
        status = self._status_line()
        self._manager.step(self._now_ms, status, waited_for, in_between=self._state != SERVING)

    def _status_line(self) -> str:
        members = [*self._fleet.workers, *self._fleet.gateways]
        return words.status_line(
            self._shown_state(),
            self._url,
            waiting_for=[member.title for member in members if member.state not in (READY, GONE)],
            workers=len(self._fleet.workers),
            gateways=len(self._fleet.gateways),
        )

    # --- exits ------------------------------------------------------------------------------------------

    def _take_exit(self, member: Member) -> None:
        pid, ended = member.pid or 0, member.ended
        status = self._fleet.reap(member)
        self._desk.died(member.name, self._now_ms)
        if self._changes.take_exit(member, status, self._now_ms):
            self._advance_stop()
            return
        if member in self._fleet.others:  # it was to leave, and what it was needed for is over
            self._fleet.drop(member)
            self._advance_stop()
            return
        if member.state == STOPPING:
            member.state = GONE
            if member.role == "worker" and status != 0:
                self._left_cleanly = False
            self._advance_stop()
            return
        cause = describe_exit(status) + (f" ({ended})" if ended else "")
        self._snapshots.died(member, self._now_ms)
        waiting = pending_requests(self._fleet)
        text = words.died(member.title, pid, cause, waiting)
        facts: dict[str, Any] = {"which": member.title, "pid": pid, "cause": cause, "waiting": waiting}
        console.event("warn", text, name=DIED[member.role], **facts)
        self._events.note(DIED[member.role], "warn", text, member.name)
        member.state = WAITING
        if not self._changes.kind:
            self._door.died(member, self._now_ms)
        if member.died_at_ms is None:
            member.died_at_ms = self._now_ms
        decision = member.policy.died(self._now_ms, worked=member.page.has_worked())
        if isinstance(decision, GiveUp):
            exit_code = status if status in _KNOWN_EXITS else EXIT_CONFIG
            self._fail(words.gave_up(member.title, decision.attempts, cause), exit_code)
        else:
            member.start_at_ms = self._now_ms + decision.delay_ms

    # --- hangs ------------------------------------------------------------------------------------------

    def _look(self) -> None:
        limit_ms = self._settings.hang_timeout_ms
        self._look_due_ms = self._now_ms + (min(LOOK_MS, max(20, limit_ms // 4)) if limit_ms else LOOK_MS)
        now_ns = time.monotonic_ns()
        for member in self._fleet:
            if member.pid is not None:
                # What a dead process was busy with is no fault of its successor, which has yet to start.
                is_own = member.page.incarnation() == member.incarnation
                entry = member.page.entry() if is_own else None
                stuck = member.watch.look(entry, procfs.is_stopped(member.pid), now_ns)
                if stuck is not None:
                    self._take_stuck(member, stuck)
        if self._state == STARTING and _due(self._slow_start_due_ms, self._now_ms):
            self._slow_start_due_ms = self._now_ms + SLOW_START_REPEAT_MS
            missing = [member.title for member in self._fleet if member.state != READY]
            console.event("info", words.still_starting(missing), name="start.waiting", missing=missing)

    def _take_stuck(self, member: Member, stuck: Stuck) -> None:
        operator = self._fleet.plan.operator_names.get(stuck.operator, "")
        what = words.hung(stuck.what, stuck.seconds, operator)
        if stuck.kill:
            member.kill(what)
        else:
            facts: dict[str, Any] = {"which": member.title, "pid": member.pid, "operator": operator}
            console.event("warn", f"{member.title} (pid {member.pid}) is {what}", name="hang.warned", **facts)
            if member.pid is not None and not procfs.is_stopped(member.pid):
                # A stopped process would answer when it goes on, and is nowhere then.
                member.show_stack()

    # --- shut-down --------------------------------------------------------------------------------------

    def _take_signal(self, number: signal.Signals) -> None:
        if self._state in (STARTING, SERVING):
            self._begin_stop()
        elif number == signal.SIGINT and self._state != ENDED:
            console.say(words.cut_short(self._fleet.plan.data_dir), name="server.cut_short", level="warn")
            self._exit_code = EXIT_INTERRUPTED
            self._state = ENDED

    def _begin_stop(self) -> None:
        """Gateways first: they accept no more and finish what is in flight, for which workers are needed."""
        self._changes.stopping(self._now_ms)
        self._door.stopping()
        self._events.note("server.stopping", "info", "the server is told to stop")
        pending = pending_requests(self._fleet)
        grace_ms = self._settings.shutdown_grace_ms
        said = words.stopping(pending, grace_ms)
        console.say(said, name="server.stopping", pending=pending, grace_ms=grace_ms)
        self._stop_began_ms = self._now_ms
        self._state = LEAVING
        self._manager.stopping(self._status_line())
        self._fleet.refuse_connections()
        self._stop(self._fleet.gateways)
        self._advance_stop()

    def _stop(self, leaving: Iterable[Member]) -> None:
        grace_ms = self._settings.shutdown_grace_ms
        self._kill_due_ms = self._now_ms + grace_ms + STOP_MARGIN_MS
        for member in leaving:
            if member.state in (READY, STOPPING):
                self._fleet.send([member], wire.STOP, {"grace_ms": grace_ms})
            else:
                # It has not begun to serve, and would hear a message only when it does.
                member.kill()
            if member.state == WAITING and member.role == "worker":
                self._left_cleanly = False
            member.state = STOPPING if member.running else GONE

    def _leaving(self) -> list[Member]:
        return [member for member in self._fleet if member.state == STOPPING]

    def _advance_stop(self) -> None:
        """When the gateways have left, stop the workers; when they have too, end."""
        if self._state == LEAVING and not self._leaving():
            self._state = STOPPING
            self._stop(self._fleet.workers)
        if self._state == STOPPING and not self._leaving():
            self._end()

    def _end(self) -> None:
        self._state = ENDED
        if self._left_cleanly:
            try:
                self._folder.mark_clean()
            except StorageError as error:
                console.event("warn", error.message, name="folder.not_marked")
        # Workers have a gauge of that name too, for records.
        totals: dict[str, Any] = {"pending": total(self._fleet.gateways, "pending")}
        everybody = ever(self._fleet, self._fleet.retired)
        totals |= {name: total(everybody, name) for name in ("answered", "timed_out")}
        seconds = (self._now_ms - self._stop_began_ms) / 1000
        said = words.stopped(seconds, totals, self._fleet.plan.data_dir)
        console.say(said, name="server.stopped", seconds=seconds, **totals)


def _due(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms <= now_ms


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000

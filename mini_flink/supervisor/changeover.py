"""From one generation to the next while clients wait, not fail: rescale, upgrade and (an upgrade) reload.

The old workers serve while a resharder copies their state into the next generation's folders. Then nobody is
let in, the old workers come to a stand, the resharder adds what has changed since, the new workers start
without running anything. Up to ``switch``, one durable step, the old processes are all there: whatever fails,
or does not get on, they are told to go on, as if nothing had been. From then on the new generation counts,
and the old ones end.

    prepare   the resharder loads the job and says whether its state fits        old workers serve
    track     workers begin to note which keys change; new ones, still nameless, load the job
    copy      the resharder copies; for an upgrade new gateways load, on standby. What has changed meanwhile
              is tracked anew and copied again, until that is quick
    hold      gateways hold requests (upgrade: the old ones accept no more)        clients wait
    finish    workers end their batch, flush, list what has changed, and stand still
    build     the resharder adds that, and the records that were under way
    trial     (upgrade, but no reload) workers on state that is thrown away; a new gateway asks them the probe
    start     the new workers recover, and wait
    release   the switch is made, everybody goes; gateways say so

Owns the phase and the processes of the next generation. Called by ``loop``, which goes on watching everybody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mini_flink import console, wire
from mini_flink.config import BY_NAME, Source, check
from mini_flink.core.patience import Patience
from mini_flink.errors import (
    EXIT_CONFIG,
    EXIT_INTERNAL,
    EXIT_STORAGE,
    EXIT_TRY_AGAIN,
    MiniFlinkError,
    StorageFullError,
    UsageError,
)
from mini_flink.faults import crash_point
from mini_flink.folder import DataFolder, upgraded_to
from mini_flink.jobs import JobTarget
from mini_flink.pinned import path_of
from mini_flink.spec import PAUSED, SERVE, STANDBY, TRIAL
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.members import READY, STARTING, STOPPING, Member, describe_exit
from mini_flink.supervisor.questions import progress
from mini_flink.supervisor.words import count

PREPARE, TRACK, COPY, HOLD, FINISH, BUILD = "prepare", "track", "copy", "hold", "finish", "build"
TRIAL_START, TRIAL_ASK, TRIAL_END, START, RELEASE = "trial", "probe", "trial end", "start", "release"
ABORT, ENDED = "abort", "ended"
TRIALS = (TRIAL_START, TRIAL_ASK, TRIAL_END)

RELOAD = "reload"
"""An upgrade to what the files of the same job hold now, for ``serve --dev``: as quick as can be."""

ATTEMPTS = 3
SHORT_COPY_MS = 250
"""What changes in so short a time is left to ``build``, for which clients wait."""
MAX_COPIES = 6
HELD_LIMIT_MS = 60_000
"""How long clients may be kept waiting before everything goes back."""

STILL_LIMIT_MS: Mapping[str, int] = {PREPARE: 60_000, TRACK: 60_000, COPY: 600_000}
"""How long nothing may get on before clients are held. The job loads in ``prepare`` (and, in new gateways, in
``copy``): one whose top level never returns would lock the server for good. A copy says how far it is, but
not while it is synced at its end, which takes long on a slow disk.
"""
LOADING = (PREPARE, TRACK, COPY)

IDLE_MS = 500
RELOAD_IDLE_MS = 50
"""How long old gateways wait for the next request of an idle connection, to close it with the answer."""

Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to become of the server. ``job`` None: the same job; ``workers`` None: as many."""

    kind: str
    workers: int | None = None
    parallelisms: Mapping[str, int] | None = None
    job: JobTarget | None = None
    probe: Mapping[str, Any] | None = None
    allow_dropped_state: bool = False

    @property
    def is_upgrade(self) -> bool:
        """Whether gateways change too, because they hold the job's code."""
        return self.kind in ("upgrade", RELOAD)

    @property
    def has_trial(self) -> bool:
        """Whether the job is to prove itself on state that is thrown away."""
        return self.kind == "upgrade"

    @property
    def idle_ms(self) -> int:
        """How long old gateways wait for the next request of an idle connection."""
        return RELOAD_IDLE_MS if self.kind == RELOAD else IDLE_MS


def goal_of(question: Mapping[str, Any]) -> Goal:
    """The goal in a question from the command line or the page; UsageError if its numbers are none."""
    job, workers, parallelisms = (question.get(name) for name in ("job", "workers", "parallelisms"))
    if workers is not None:
        check(BY_NAME["workers"], workers, Source("the question", error=UsageError))
    for uid, number in (parallelisms or {}).items():
        if type(number) is not int or number < 1:
            raise UsageError(f"the parallelism of {uid} is a whole number from 1 up, not {number!r}")
    return Goal(
        kind=question["what"],
        workers=workers,
        parallelisms=parallelisms,
        job=None if job is None else JobTarget.from_dict(job),
        probe=question.get("probe"),
        allow_dropped_state=bool(question.get("allow_dropped_state")),
    )


def place_of(job: JobTarget) -> str:
    """Where its user finds it: the path of a file, the name of a module."""
    return job.target if job.is_module else os.path.join(job.directory, job.target)


def still_loading(job: JobTarget, kind: str, seconds: int) -> str:
    """The error of a job that does not load and does not fail."""
    again = "save it again" if kind == RELOAD else f"{kind} again"
    return (
        f"error: {job.words} was still loading after {seconds} s, it was called off\n"
        f"  --> {place_of(job)}\n"
        "  = help: its top level, and that of what it imports, must return: what waits or loops there "
        f"belongs into open() of a function; then {again}"
    )


class Changeover:
    """One rescale or upgrade; over when ``phase`` is ``ENDED``. ``tell`` says how it goes to who asked."""

    def __init__(self, goal: Goal, folder: DataFolder, fleet: Fleet, tell: Tell, by: str = "") -> None:
        self.phase = PREPARE
        self.result: dict[str, Any] = {}
        self._goal = goal
        self._folder = folder
        self._fleet = fleet
        self._tell = tell
        self.by = by
        self._old = fleet.plan
        self._attempt = 0
        self._now_ms = 0
        self._held_ms: int | None = None
        self._began_ms = 0
        self._awaited: set[Member] = set()
        self._awaited_count = 0
        self._retry = False
        self._cancelled = False
        self._refused = 0
        self._failure: tuple[str, int] = ("", 0)
        self._workers: list[Member] = []
        self._gateways: list[Member] = []
        self._resharder: Member | None = None
        self._times_ms: dict[str, int] = {}
        self._phase_began_ms = 0
        self._sources = ""
        self._patience = Patience()

    @property
    def sources(self) -> str:
        """Where the resharder writes which of the user's files were read, under ``--dev`` also meanwhile."""
        return path_of(self._next.runtime_dir, self._next.generation)

    @property
    def is_loading(self) -> bool:
        """Whether clients are served as ever, and everything can still be called off without their notice."""
        return self.phase in LOADING

    @property
    def kind(self) -> str:
        """``rescale``, ``upgrade`` or ``reload``."""
        return self._goal.kind

    # --- the way ----------------------------------------------------------------------------------------

    def begin(self, now_ms: int) -> None:
        """The first attempt, or another one."""
        self._now_ms = now_ms
        self._began_ms = self._began_ms or now_ms
        self._attempt += 1
        said = f"{self._goal.kind}{self.by} begins"
        console.note(said, name="changeover.begun", kind=self._goal.kind, attempt=self._attempt)
        self._retry = False
        self._held_ms = None
        self._sources = ""
        self._workers, self._gateways = [], []
        generation, draft = self._folder.draft_generation()
        goal, old = self._goal, self._old
        self._draft = draft
        self._label = ""
        self._copies = 0
        self._next = replace(
            old,
            generation=generation,
            workers=goal.workers or old.workers,
            job=goal.job or old.job,
            parallelisms={**old.parallelisms, **(goal.parallelisms or {})},
            sources=old.sources if goal.job is None else "",
        )
        self._fleet.draft(self._next)
        self._resharder = self._fleet.new_resharder(self._next, self._task())
        self._fleet.others.append(self._resharder)
        self._enter(PREPARE)
        self._fleet.start([self._resharder])

    def _task(self) -> dict[str, Any]:
        record = self._folder.record
        return {
            "folder": self._draft,
            "old_generation": record.generation,
            "old_folders": [self._folder.process_folder(member.name) for member in self._fleet.workers],
            "next_operator": record.next_operator,
            "old_parallelisms": dict(record.parallelisms),
            "job_name": self._old.job_name,
            "same_job": self._goal.job is None,
            "allow_dropped_state": self._goal.allow_dropped_state,
            "epoch": record.epoch,
        }

    def _enter(self, phase: str) -> None:
        if self._phase_began_ms:
            took_ms = self._now_ms - self._phase_began_ms
            self._times_ms[self.phase] = self._times_ms.get(self.phase, 0) + took_ms
        self._phase_began_ms = self._now_ms
        self.phase = phase
        self._patience.begin(STILL_LIMIT_MS.get(phase), self._now_ms)
        self._tell({"phase": phase, "copies": self._copies})
        crash_point(f"enter_{phase.replace(' ', '_')}")

    def _prepared(self, facts: Mapping[str, Any]) -> None:
        """The resharder has loaded the job, and its state fits."""
        if facts["job_name"] != self._old.job_name:
            name = facts["job_name"]
            self._fail(f"this is job {name!r}, not {self._old.job_name!r}", EXIT_CONFIG)
            return
        self._next = replace(
            self._next,
            numbers=dict(facts["numbers"]),
            parallelisms=dict(facts["parallelisms"]),
            fingerprint=facts["fingerprint"],
            operator_names={int(number): name for number, name in facts["operator_names"].items()},
            sources=facts["sources"],
            locations=facts["locations"],
            key_names=facts["key_names"],
        )
        self._next_operator = int(facts["next_operator"])
        self._sources = str(facts["sources"])
        self._fleet.draft(self._next)
        self._tell({"findings": facts["findings"]})
        self._track()
        self._fleet.prepare(self._next, 2 if self._goal.has_trial else 1)

    def _track(self) -> None:
        self._enter(TRACK)
        last, self._label = self._label, f"g{self._next.generation}.{self._attempt}.{self._copies + 1}"
        self._await(self._fleet.workers)
        order = {"label": self._label, "last": last, "folder": self._draft}
        self._fleet.send(self._fleet.workers, wire.TRACK, order)

    def _copy(self) -> None:
        self._enter(COPY)
        self._copies += 1
        if self._resharder is not None:
            self._await([self._resharder])
            self._fleet.send([self._resharder], wire.COPY, {"again": self._copies > 1})
        if self._goal.is_upgrade and self._copies == 1:
            self._start_gateways()

    def _copied(self) -> None:
        """A copy that took long leaves much to be added: better now than while clients wait."""
        was_short = self._now_ms - self._phase_began_ms <= SHORT_COPY_MS
        if was_short or self._copies == MAX_COPIES:
            self._hold()
        else:
            self._track()

    def _start_gateways(self) -> None:
        """Those that know the new job, in slots of their own: the old ones have clients to answer."""
        count = len(self._fleet.gateways)
        first = 0 if self._fleet.gateways[0].index else count
        for slot in range(first, first + count):
            self._gateways.append(self._fleet.new_gateway(slot, self._next, STANDBY))
        self._fleet.others += self._gateways
        self._await([*self._gateways, *([self._resharder] if self._resharder else [])])
        self._fleet.start(self._gateways)

    def _hold(self) -> None:
        self._enter(HOLD)
        self._held_ms = self._now_ms
        self._await(self._fleet.gateways)
        # One that has to be started meanwhile holds from the beginning.
        mode = STANDBY if self._goal.is_upgrade else PAUSED
        for gateway in self._fleet.gateways:
            gateway.mode = mode
        self._fleet.send(self._fleet.gateways, wire.HOLD, self._hold_order())

    def _hold_order(self) -> dict[str, Any]:
        """Gateways with the old code accept no more, so that nobody waits in them; others keep who comes."""
        if not self._goal.is_upgrade:
            return {}
        grace_ms = self._old.settings.request_timeout_ms
        return {"close_doors": True, "grace_ms": grace_ms, "idle_ms": self._goal.idle_ms}

    def _finish(self) -> None:
        self._enter(FINISH)
        self._await(self._fleet.workers)
        # Those that an upgrade has replaced acknowledge nothing any more.
        gateways = [member.name for member in self._fleet.gateways]
        order = {"label": self._label, "folder": self._draft, "gateways": gateways}
        self._fleet.send(self._fleet.workers, wire.FINISH, order)

    def _build(self) -> None:
        self._enter(BUILD)
        if self._resharder is not None:
            self._await([self._resharder])
            self._fleet.send([self._resharder], wire.BUILD, {})

    def _start(self, phase: str, mode: str) -> None:
        self._enter(phase)
        self._workers = [
            self._fleet.new_worker(index, self._next, mode) for index in range(self._next.workers)
        ]
        self._fleet.others += self._workers
        self._await(self._workers)
        self._fleet.start(self._workers)

    def _ask_probe(self) -> None:
        self._enter(TRIAL_ASK)
        gateway = self._gateways[0]
        self._await([gateway])
        self._fleet.send(
            [gateway],
            wire.PROBE,
            {"peers": self._fleet.peers_of(gateway), "request": self._goal.probe or {}},
        )

    def _end_trial(self) -> None:
        self._enter(TRIAL_END)
        self._await(self._workers)
        for worker in self._workers:
            self._dismiss(worker)

    def _release(self) -> None:
        """The point of no return: the next generation is the one that counts."""
        plan, gateways = self._next, self._gateways or self._fleet.gateways
        self._folder.switch(
            workers=plan.workers,
            parallelisms=dict(plan.parallelisms),
            operators=dict(plan.numbers),
            next_operator=self._next_operator,
            fingerprint=plan.fingerprint,
            **(upgraded_to(plan.job.words) if self._goal.is_upgrade else {}),
        )
        self._enter(RELEASE)
        crash_point("after_switch")
        leaving = self._fleet.switch(plan, self._workers, gateways)
        for member in (*self._workers, *gateways):
            member.generation, member.mode = plan.generation, SERVE
        for member in leaving:
            self._dismiss(member)
        self._await(gateways)
        self._fleet.send(self._workers, wire.GO, {})
        for gateway in gateways:
            self._fleet.send([gateway], wire.GO, self._go(gateway))
        if self._resharder is not None:
            self._dismiss(self._resharder)

    def _go(self, gateway: Member) -> dict[str, Any]:
        plan = self._fleet.plan
        return {
            "generation": plan.generation,
            "workers": plan.workers,
            "parallelisms": dict(plan.parallelisms),
            "numbers": dict(plan.numbers),
            "peers": self._fleet.peers_of(gateway),
        }

    def _done(self) -> None:
        pause_ms = self._now_ms - (self._held_ms or self._now_ms)
        self._enter(ENDED)
        self.result = {
            "ok": True,
            "generation": self._next.generation,
            "workers": self._next.workers,
            "pause_ms": pause_ms,
            "refused": self._refused,
            "duration_ms": self._now_ms - self._began_ms,
            "attempts": self._attempt,
            "copies": self._copies,
            "phases_ms": dict(self._times_ms),
            **self._read(),
        }
        workers = count(self._next.workers, "worker")
        what = f"{self._goal.kind}{self.by} done: {workers}, clients waited {pause_ms / 1000:.2f} s"
        if self._goal.kind == RELOAD:
            what = f"reloaded in {self.result['duration_ms'] / 1000:.1f} s, state kept"
        hidden = ("ok", "phases_ms", "sources")
        told = {name: value for name, value in self.result.items() if name not in hidden}
        console.event("ok", what, name="changeover.ended", kind=self._goal.kind, **told)

    # --- who has done what was asked --------------------------------------------------------------------

    def _await(self, members: list[Member]) -> None:
        self._awaited = set(members)
        self._awaited_count = len(self._awaited)

    def _has_done(self, member: Member) -> None:
        self._awaited.discard(member)
        self._patience.moved(self._now_ms)
        if self.phase == COPY and member is self._resharder:  # what is left is to load the job
            self._patience.begin(STILL_LIMIT_MS[PREPARE], self._now_ms)
        self._tell(progress(self._awaited_count - len(self._awaited), self._awaited_count, "processes"))
        self._advance()

    def _advance(self) -> None:
        if self._awaited:
            return
        try:
            self._go_on()
        except StorageFullError as error:  # nothing was written; any other error leaves it open, and ends us
            self._fail(error.message, error.exit_code)

    def _go_on(self) -> None:
        match self.phase:
            case "track":
                self._copy()
            case "copy":
                self._copied()
            case "hold":
                self._finish()
            case "finish":
                self._build()
            case "build" if self._goal.has_trial:
                self._start(TRIAL_START, TRIAL)
            case "trial":
                self._ask_probe()
            case "probe":
                self._end_trial()
            case "build" | "trial end":
                self._start(START, PAUSED)
            case "start":
                self._release()
            case "release":
                self._done()
            case "abort":
                self._aborted()

    def take_message(self, member: Member, message: wire.Control, now_ms: int) -> bool:
        """A message from one of the processes; False if it is none of a changeover's."""
        self._now_ms = now_ms
        kind, data = message.kind, message.data
        if kind == wire.READY:
            return self._take_ready(member, data)
        if kind == wire.FAILED and (member in self._fleet.others or member.role == "resharder"):
            self._sources = str(data.get("sources", self._sources))
            text = str(data["text"])
            if self._goal.kind == RELOAD and "unfit" in data:
                text = (
                    f"{text.rstrip()}\n  = or begin with new state: stop it, and serve with --data-dir FOLDER"
                )
            self._fail(text, int(data["exit_code"]))
            return True
        answers = {
            TRACK: wire.TRACKING,
            COPY: wire.COPIED,
            HOLD: wire.HELD,
            FINISH: wire.FINISHED,
            BUILD: wire.BUILT,
        }
        if kind == wire.COPYING:
            self._patience.moved(self._now_ms, (data["items"], data["total"]))
            self._tell(progress(int(data["items"]), int(data["total"]), "items"))
        elif kind == wire.PROBED and self.phase == TRIAL_ASK:
            self._take_probed(member, data)
        elif kind == answers.get(self.phase) and "reason" in data:
            self._fail(f"{member.title}: {data['reason']}", EXIT_STORAGE)
        elif kind == answers.get(self.phase):
            self._has_done(member)
        return kind in (*answers.values(), wire.PROBED, wire.COPYING)

    def _take_ready(self, member: Member, data: Mapping[str, Any]) -> bool:
        """True if this was said to us alone, and the loop need not hear it."""
        if member is self._resharder:
            member.state = READY
            if self.phase == PREPARE:
                self._prepared(data)
            return True
        member.policy.ready(self._now_ms)
        is_new = member in self._workers or member in self._gateways
        if is_new and self.phase in (COPY, TRIAL_START, START):
            member.state = READY
            self._has_done(member)
            return True
        if self.phase == HOLD and member in self._fleet.gateways and member.mode == STANDBY:
            self._has_done(member)  # it had died: nobody waits in it
        if (
            self.phase == RELEASE
            and member.role == "gateway"
            and data.get("generation") == self._next.generation
        ):
            self._refused += int(data.get("refused", 0))
            if member.state != STOPPING:  # the server may have been told to stop meanwhile
                member.state = READY
            self._has_done(member)
        return False

    def _take_probed(self, member: Member, data: Mapping[str, Any]) -> None:
        status = data.get("status")
        if status is not None:
            self._tell({"probe": {"status": status, "body": data.get("body", "")}})
        if status is None or int(status) < 400:
            self._has_done(member)
            return
        self._fail(f"the probe was answered with {status}: {data.get('body', '')}", EXIT_CONFIG)

    def take_exit(self, member: Member, status: int, now_ms: int) -> bool:
        """A process has ended (and was reaped); True if that was expected, or is dealt with here."""
        self._now_ms = now_ms
        if member is self._resharder:
            self._resharder = None
            self._fleet.drop(member)
            if self.phase == PREPARE and status >= 0:
                self._fail(self._ended_by_job(status), EXIT_CONFIG)
            elif self.phase not in (RELEASE, ABORT, ENDED):
                self._fail(f"the resharder ended with status {status}", EXIT_INTERNAL, retry=True)
            elif self.phase == ABORT:
                self._has_done(member)
            return True
        if member in self._fleet.others:
            return self._take_exit_of_new(member, status)
        if member.role == "worker" and self.phase in (TRACK, COPY, HOLD, FINISH, BUILD, *TRIALS, START):
            # What it had noted of its changes is lost with it; the loop starts it again.
            self._fail(f"{member.title} died ({describe_exit(status)})", EXIT_INTERNAL, retry=True)
        return False

    def _take_exit_of_new(self, member: Member, status: int) -> bool:
        """One that is to leave, at the end of its trial, its attempt, its generation; or one that died."""
        self._fleet.drop(member)
        if member.state == STOPPING:
            self._has_done(member)
        else:
            died = f"{member.title} of the new generation died ({describe_exit(status)})"
            self._fail(died, EXIT_INTERNAL, retry=True)
        return True

    # --- when it comes to nothing -----------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """Nobody waits for ever."""
        self._now_ms = now_ms
        held = self._held_ms is not None and now_ms - self._held_ms > HELD_LIMIT_MS
        if held and self.phase not in (RELEASE, ABORT, ENDED):
            who = ", ".join(sorted(member.title for member in self._awaited))
            self._fail(f"clients had waited a minute for {who} ({self.phase})", EXIT_INTERNAL)
        elif self._patience.over(now_ms):
            self._fail(*self._standing_still())

    def due_ms(self) -> int | None:
        """When ``step`` is to be called next."""
        may_fail = self.phase not in (RELEASE, ABORT, ENDED)
        if self._held_ms is not None and may_fail:
            return self._held_ms + HELD_LIMIT_MS
        return self._patience.due_ms()

    def _standing_still(self) -> tuple[str, int]:
        """Why nothing got on for so long, and the exit code."""
        seconds = self._patience.limit_ms // 1000
        is_loaded = not any(member.state == STARTING for member in self._gateways)
        if self.phase == PREPARE or not is_loaded:
            return still_loading(self._next.job, self._goal.kind, seconds), EXIT_CONFIG
        who = ", ".join(sorted(member.title for member in self._awaited))
        said = f"{who} did not get on for {seconds} s ({self.phase}), it was called off"
        return (
            f"error: {said}\n  = help: see which process hangs: python -m mini_flink status",
            EXIT_TRY_AGAIN,
        )

    def _ended_by_job(self, status: int) -> str:
        """The process that loads the job has ended without a word of why."""
        return (
            f"error: the process that loads {self._next.job.words} ended with status {status} before it had "
            f"loaded\n  --> {place_of(self._next.job)}\n"
            "  = help: is there an os._exit() in its top level, or in a module that it imports? "
            "What it printed stands in the server's log"
        )

    def cancel(self, reason: str, now_ms: int) -> None:
        """Somebody wants something else: back to how it was, if that is still possible."""
        self._now_ms = now_ms
        self._cancelled = True
        self._retry = False
        self._fail(reason, EXIT_TRY_AGAIN)
        if self.phase == ABORT and not self._awaited:
            self._aborted()

    def call_off_loading(self, reason: str, now_ms: int) -> None:
        """What is being loaded is not wanted any more; later than that it goes on to its end."""
        if self.is_loading:
            self.cancel(reason, now_ms)

    def _fail(self, reason: str, exit_code: int, *, retry: bool = False) -> None:
        """Back to how it was: the old processes stand where they stood, and their folders are untouched."""
        if self.phase in (ABORT, ENDED, RELEASE):
            return
        self._retry = retry and self._attempt < ATTEMPTS and not self._cancelled
        self._failure = (reason, exit_code)
        why = reason.rstrip().removeprefix("error: ")
        said = f"{self._goal.kind}{self.by} came to nothing, the server goes on as it was: {why}"
        if self._goal.kind == RELOAD:
            said = f"not reloaded, the version before goes on: {why}"
        console.event("warn", said, name="changeover.failed", kind=self._goal.kind, retried=self._retry)
        self._enter(ABORT)
        self._held_ms = None
        leaving = list(self._fleet.others)
        for member in leaving:
            self._dismiss(member)
        self._await([member for member in leaving if member.running])
        for member in (*self._fleet.workers, *self._fleet.gateways):
            member.mode = SERVE
            if member.running:
                self._fleet.send([member], wire.GO, self._go(member))
        self._advance()

    def _dismiss(self, member: Member) -> None:
        """It is needed no more, and nothing that it has is."""
        member.state = STOPPING
        member.kill()
        if not member.running:
            self._fleet.drop(member)

    def _aborted(self) -> None:
        """Nobody is left who writes into the draft."""
        self._fleet.end_spares()
        self._folder.drop_draft()
        if not self._retry:
            self.phase = ENDED
            reason, exit_code = self._failure
            self.result = {"ok": False, "reason": reason, "exit_code": exit_code, **self._read()}

    def _read(self) -> dict[str, str]:
        """For who watches the sources: which of them were read, empty if that is not known."""
        return {"sources": self._sources} if self._goal.kind == RELOAD else {}

    def retry(self, now_ms: int) -> None:
        """Once everybody is up again, another attempt, if one is due."""
        everybody = (*self._fleet.workers, *self._fleet.gateways)
        if self.phase == ABORT and not self._awaited and all(each.state == READY for each in everybody):
            self._tell({"retry": self._failure[0]})
            self._phase_began_ms = 0
            self._times_ms.clear()
            try:
                self.begin(now_ms)
            except MiniFlinkError as error:
                self._retry = False
                self._failure = (error.message, error.exit_code)
                self._aborted()

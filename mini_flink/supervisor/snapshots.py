"""When snapshots are taken, and what makes them complete: the supervisor's side of an epoch.

Owns the interval, the round under way, the chain that the next incremental snapshot builds on, and who asked
for a savepoint. The store is only touched in a thread of its own: a bucket far away stops nobody. Called by
``loop``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mini_flink import __version__, console, wire
from mini_flink.core.epochs import SnapshotRounds
from mini_flink.errors import EXIT_TRY_AGAIN, MiniFlinkError, SnapshotMissingError, told_of
from mini_flink.folder import DataFolder
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.location import open_store, shown
from mini_flink.snapshots.manifest import FileEntry, Manifest, Part, SnapshotKind, snapshot_id
from mini_flink.snapshots.policy import Policy
from mini_flink.supervisor.events import EventRing
from mini_flink.supervisor.fleet import Fleet
from mini_flink.supervisor.members import READY, Member
from mini_flink.supervisor.questions import progress
from mini_flink.supervisor.spec import ServerPlan
from mini_flink.worker.background import Background

ROUND_LIMIT_MS = 3_600_000
"""A snapshot that takes longer is given up; beside a full load a gigabyte takes minutes."""
RETRY_MS = 200
FAILED_MS = 10_000
"""After a failed periodic snapshot the next one is tried soon."""
HELD_UP_MS = 5_000
"""A snapshot that is due while the server is changed waits for so long before that is worth a word."""
_PUBLISH = "manifest"
SNAPSHOT: Final = "snapshot"
SAVEPOINT: Final = "savepoint"

Answer = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Wish:
    """A snapshot that somebody wants."""

    kind: SnapshotKind
    location: str
    answer: Answer | None = None
    tell: Answer | None = None
    by: str = ""


class SnapshotDirector:
    """Takes snapshots of one fleet."""

    def __init__(
        self,
        plan: ServerPlan,
        folder: DataFolder,
        fleet: Fleet,
        background: Background,
        events: EventRing,
    ) -> None:
        self._events = events
        self._plan = plan
        self._folder = folder
        self._fleet = fleet
        self._background = background
        self._policy = Policy.of(plan.settings, plan.data_dir)
        self._rounds = SnapshotRounds()
        self._wish: _Wish | None = None
        self._states: dict[bytes, None] = {}
        self._waiting: deque[_Wish] = deque()
        self._last: Manifest | None = None
        self._since_base = 0
        self._publishing: Manifest | None = None
        self._due_ms: int | None = None
        self._interval_ms = self._policy.interval_s * 1000
        self._facts: dict[str, Any] = {"completed": 0, "failed": 0, "last": None, "last_failure": None}
        self._suspended = ""
        self._held_up = False

    # --- wishes -----------------------------------------------------------------------------------------

    @property
    def location(self) -> str:
        """Where periodic snapshots go."""
        return self._policy.location

    def ask(self, location: str | None, answer: Answer, tell: Answer, by: str) -> None:
        """Somebody wants a savepoint; ``tell`` hears whose parts are stored, ``answer`` the end of it."""
        self._waiting.append(_Wish(SAVEPOINT, location or self.location, answer, tell, by))

    def step(self, now_ms: int, *, serving: bool) -> None:
        """Begin what is due, give up what takes too long, hear of what was published."""
        for outcome in self._background.outcomes():
            self._published(outcome.error, now_ms)
        current = self._rounds.current
        if current is not None and now_ms - current.began_ms > ROUND_LIMIT_MS:
            self._abandon(_passing("it took longer than an hour"), now_ms)
        if self._due_ms is None and self._interval_ms and serving:
            self._due_ms = now_ms + self._interval_ms
        if self._suspended and self._due_ms is not None and now_ms >= self._due_ms + HELD_UP_MS:
            self._say_held_up()
        if self._wish is None and serving and not self._suspended:
            self._begin_due(now_ms)

    def _say_held_up(self) -> None:
        """Once: what is durable elsewhere grows older meanwhile."""
        if not self._held_up:
            self._held_up = True
            said = f"a snapshot is due, and waits: {self._suspended}"
            console.event("warn", said, name="snapshot.waits")
            self._events.note("snapshot.waits", "warn", said)

    def _begin_due(self, now_ms: int) -> None:
        is_due = self._due_ms is not None and now_ms >= self._due_ms
        if not is_due and not self._waiting:
            return
        if any(member.state != READY for member in self._fleet.workers):
            return  # the part of a worker that is just being started would be late or lost
        if self._waiting:
            self._begin(self._waiting.popleft(), now_ms)
        else:
            self._due_ms = now_ms + self._interval_ms
            self._begin(_Wish(SNAPSHOT, self.location), now_ms)

    def due_ms(self, now_ms: int) -> int | None:
        """When ``step`` is to be called next."""
        current = self._rounds.current
        if current is not None:
            return current.began_ms + ROUND_LIMIT_MS
        due_ms = now_ms if self._waiting else self._due_ms
        # What cannot begin when it is due is looked at again after a while.
        return due_ms if due_ms is None or due_ms > now_ms else now_ms + RETRY_MS

    # --- a round ----------------------------------------------------------------------------------------

    def _begin(self, wish: _Wish, now_ms: int) -> None:
        try:
            epoch = self._folder.next_epoch()
        except MiniFlinkError as error:
            self._wish = wish
            self._failed(told_of(error), now_ms)
            return
        self._wish = wish
        self._states.clear()
        self._rounds.begin(epoch, [member.index for member in self._fleet.workers], now_ms)
        order = {
            "epoch": epoch,
            "id": snapshot_id(self._plan.folder_id, epoch),
            "location": wish.location,
            "base": self._base(wish),
        }
        self._fleet.send(self._fleet.workers, wire.SNAPSHOT, order)

    def _base(self, wish: _Wish) -> int:
        """The epoch that this one may build on: a savepoint stands for itself, a base comes now and then."""
        if wish.kind == SAVEPOINT or self._last is None:
            return 0
        return 0 if self._since_base >= self._policy.base_every else self._last.epoch

    def take_part(self, member: Member, data: Mapping[str, Any], now_ms: int) -> None:
        """A worker has stored its part, or could not."""
        current, epoch = self._rounds.current, int(data["epoch"])
        if current is None or current.epoch != epoch:
            return
        if "reason" in data:
            self._abandon({**data, "reason": f"{member.title}: {data['reason']}"}, now_ms)
            return
        self._states.update((packed, None) for packed in data["states"])
        parts = self._rounds.report(member.index, epoch, _part(member.index, data))
        if self._wish is not None and self._wish.tell is not None:
            self._wish.tell(progress(len(current.parts), len(self._fleet.workers), "workers"))
        if parts is not None and self._wish is not None:
            duration_ms = now_ms - current.began_ms
            self._publish(self._manifest(self._wish, epoch, parts, duration_ms), self._wish.location)

    def died(self, member: Member, now_ms: int) -> None:
        """A worker is gone; what it had not reported is lost."""
        if member.role == "worker" and self._rounds.died(member.index) is not None:
            self._failed(_passing(f"{member.title} died before its part was stored"), now_ms)

    def _abandon(self, why: Mapping[str, Any], now_ms: int) -> None:
        self._rounds.abandon()
        self._failed(why, now_ms)

    def _failed(self, why: Mapping[str, Any], now_ms: int) -> None:
        """The snapshot came to nothing, the service goes on; ``why`` is as ``errors.told_of`` has it."""
        wish, self._wish = self._wish, None
        reason = why["reason"]
        self._facts["failed"] += 1
        self._facts["last_failure"] = reason
        kind, by = (wish.kind, wish.by) if wish else (SNAPSHOT, "")
        console.event(
            "warn", f"a {kind}{by} failed: {reason}", name="snapshot.failed", kind=kind, reason=reason
        )
        self._events.note("snapshot.failed", "warn", f"a {kind}{by} failed: {reason}")
        self._fleet.send(
            self._fleet.workers, wire.SNAPSHOT_END, {"epoch": self._folder.record.epoch, "complete": False}
        )
        if wish is not None and wish.answer is not None:
            wish.answer({"ok": False, **{name: why[name] for name in ("reason", "help", "exit_code")}})
        if wish is not None and wish.kind == SNAPSHOT:
            self._due_ms = now_ms + min(self._interval_ms, FAILED_MS)

    # --- the manifest -----------------------------------------------------------------------------------

    def _manifest(self, wish: _Wish, epoch: int, parts: Mapping[int, Part], duration_ms: int) -> Manifest:
        new_bytes = sum(file.size_bytes for part in parts.values() for file in part.files)
        whole = tuple(self._whole(parts[worker]) for worker in sorted(parts))
        record, plan = self._folder.record, self._plan
        return Manifest(
            id=snapshot_id(plan.folder_id, epoch),
            kind=wish.kind,
            job=plan.job_name,
            folder_id=plan.folder_id,
            epoch=epoch,
            generation=record.generation,
            created_ms=time.time_ns() // 1_000_000,
            duration_ms=duration_ms,
            program_version=__version__,
            workers=plan.workers,
            max_parallelism=plan.max_parallelism,
            operators=dict(record.operators),
            next_operator=record.next_operator,
            parallelisms=dict(record.parallelisms),
            incarnations=self._folder.incarnations,
            fingerprint=plan.fingerprint,
            states=_states(self._states),
            parts=whole,
            new_bytes=new_bytes,
            total_bytes=sum(file.size_bytes for part in whole for file in part.files),
        )

    def _whole(self, part: Part) -> Part:
        """A part with the older files that its increment rests on."""
        if self._last is None or all(file.kind != "delta" for file in part.files):
            return part
        before = next(older for older in self._last.parts if older.worker == part.worker)
        chain = tuple(file for file in before.files if file.kind != "channels")
        return replace(part, files=chain + part.files)

    def _publish(self, manifest: Manifest, location: str) -> None:
        """Write the manifest, which makes the snapshot complete, and remove what is too old."""
        self._publishing = manifest
        policy, directory = self._policy, self._plan.data_dir

        def publish() -> None:
            store = open_store(location, directory=directory)
            try:
                catalog = Catalog(store)
                catalog.check_alone(manifest.id)
                _check_there(catalog, manifest)
                catalog.write_manifest(manifest)
                catalog.retain(policy.kept, policy.max_age_s, manifest.created_ms, newest=manifest)
            finally:
                store.close()

        self._background.submit(_PUBLISH, publish)

    def _published(self, error: Exception | None, now_ms: int) -> None:
        manifest, self._publishing = self._publishing, None
        wish = self._wish
        if manifest is None or wish is None:
            return
        if isinstance(error, SnapshotMissingError):
            self._last = None  # what is not there is not built on again
        if error is not None:
            # Also one that no store should raise: the snapshot fails, the service goes on.
            self._failed(told_of(error), now_ms)
            return
        self._wish = None
        is_chained = wish.kind == SNAPSHOT
        if is_chained:
            has_delta = any(file.kind == "delta" for part in manifest.parts for file in part.files)
            self._since_base = self._since_base + 1 if has_delta else 0
            self._last = manifest
        self._facts["completed"] += 1
        self._facts["last"] = facts = summary(manifest, wish.location)
        console.note(f"the {manifest.title}{wish.by} is complete", name="snapshot.completed", **facts)
        text = f"{facts['total_bytes']} bytes in {facts['duration_ms']} ms"
        self._events.note("snapshot.completed", "ok", f"{facts['kind']} {facts['id']}{wish.by}: {text}")
        self._fleet.send(
            self._fleet.workers, wire.SNAPSHOT_END, {"epoch": manifest.epoch, "complete": is_chained}
        )
        if wish.answer is not None:
            wish.answer({"ok": True, **summary(manifest, wish.location)})

    # --- what there is to say ---------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """For ``status``."""
        running = self._rounds.current
        return {
            "location": shown(self.location),
            "interval_s": self._interval_ms // 1000,
            "running_epoch": running.epoch if running else None,
            "held_up": self._suspended if self._held_up else None,
            **self._facts,
        }

    # --- while the workers change -----------------------------------------------------------------------

    def suspend(self, reason: str) -> None:
        """No snapshots until ``resume``; one under way comes to nothing, and who waits for one hears so."""
        self._suspended, self._held_up = reason, False
        waiting, self._waiting = self._waiting, deque()
        for wish in waiting:
            if wish.answer is not None:
                told = {"ok": False, "reason": reason, "help": "ask when it is over"}
                wish.answer({**told, "exit_code": EXIT_TRY_AGAIN})
        if self._rounds.current is not None:
            self._rounds.abandon()
            self._failed(_passing(reason), self._due_ms or 0)

    def resume(self, plan: ServerPlan) -> None:
        """Go on; after other workers have taken over, the next one builds on nothing."""
        self._suspended, self._held_up = "", False
        if plan is not self._plan:
            self._plan = plan
            self._last = None
            self._since_base = 0


def summary(manifest: Manifest, location: str) -> dict[str, Any]:
    """A snapshot in a few words, for people and programs; ``location`` is shown without its secrets."""
    return {
        "id": manifest.id,
        "kind": manifest.kind,
        "epoch": manifest.epoch,
        "location": shown(location),
        "created_ms": manifest.created_ms,
        "duration_ms": manifest.duration_ms,
        "new_bytes": manifest.new_bytes,
        "total_bytes": manifest.total_bytes,
    }


def _passing(reason: str) -> dict[str, Any]:
    """What is over when it is asked for again."""
    return {"reason": reason, "help": "ask for it again in a moment", "exit_code": EXIT_TRY_AGAIN}


def _part(worker: int, data: Mapping[str, Any]) -> Part:
    files = tuple(FileEntry(**file) for file in data["files"])
    return Part(worker, int(data["commit_number"]), files)


def _check_there(catalog: Catalog, manifest: Manifest) -> None:
    """SnapshotMissingError if a file has vanished meanwhile, be it an older one that a delta rests on."""
    missing = catalog.missing(manifest)
    if missing:
        raise SnapshotMissingError(f"{missing[0]}: somebody else has removed it, or written there")


def _states(packed: Iterable[bytes]) -> list[list[Any]]:
    """Operator, name, kind and type of all states that any worker has."""
    rows = {(row[0], row[1], row[3], row[4]) for row in map(wire.unpack, packed)}
    return [list(row) for row in sorted(rows)]

"""The data folder of a job: whose it is, what it may be started with, and numbers that are never reused.

    lock                 held by the supervisor
    job.json             the job, its workers, its operator numbers, and how the last run ended
    incarnations.json    how often each process was started
    run.json             where the running supervisor is found (advice, not state)
    pages/w0.g1.page     progress pages
    g1/w0/ g1/w1/ …      one folder per worker of a generation; the worker alone knows what is in it
    snapshots/           snapshots, unless they are kept elsewhere

A restore or a re-shard makes the next generation beside the one that stands; that job.json names it is the
moment from which it counts. Every file names its format version and has a checksum. job.json and
incarnations.json are replaced atomically and synced before anything relies on them. Never looks into a
worker's folder. Called by the supervisor; Linux only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mini_flink import progress
from mini_flink.errors import CorruptionError, FolderError, StorageFullError, storage_error
from mini_flink.locks import FolderLock
from mini_flink.suggest import nearest

FORMAT_VERSION = 2
"""Format 1 had the workers' folders of its only generation beside job.json; the next start moves them."""
_WITHOUT_CHECKSUM = 1
MAX_OPERATOR_NUMBER = 65_535
_WORKER_FOLDER = re.compile(r"w\d+")
_WORKER_PAGE = re.compile(r"w\d+\.g(\d+)\.page")
_GENERATION_FOLDER = re.compile(r"g(\d+)")
SNAPSHOTS = "snapshots"
_OUR_FIRST_FILES = {"lock", "incarnations.json", "incarnations.json.new", "job.json.new", "lost+found"}


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What job.json holds. ``durability`` is the weakest that what is in the folder may rest on.

    ``refused``: no start on this folder has ever come as far as serving, so it holds nothing to lose.
    ``parallelisms`` are those that a rescale set, by uid; ``epoch`` is the last one given out. ``restored``
    names the snapshot that the last restore went back to, if there was one, ``restored_because`` says why,
    ``lost_since`` (ISO) from when on nothing is left, ``restored_generation`` which generation that made;
    ``untouched``: nothing has been started on it yet. ``served_from`` names the job as it was given on the
    command line, ``upgraded_at`` (ISO) when that took the place of another while it served, else "".
    """

    job: str
    folder_id: int
    workers: int
    max_parallelism: int
    durability: str
    boot_id: str
    clean: bool = True
    generation: int = 1
    operators: dict[str, int] = field(default_factory=dict)
    next_operator: int = 1
    fingerprint: list[Any] = field(default_factory=list)
    refused: bool = False
    parallelisms: dict[str, int] = field(default_factory=dict)
    epoch: int = 0
    restored: str = ""
    restored_because: str = ""
    lost_since: str = ""
    restored_generation: int = 0
    untouched: bool = False
    served_from: str = ""
    upgraded_at: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """What somebody wants to start.

    A new folder gets ``workers``, or ``default_workers`` if that is None. ``restores``: a snapshot is to take
    the place of whatever is there.
    """

    job: str
    max_parallelism: int
    durability: str
    workers: int | None = None
    default_workers: int = 1
    restores: bool = False


class DataFolder:
    """An open, locked and checked data folder."""

    def __init__(self, path: str, lock: FolderLock, record: JobRecord, *, is_new: bool) -> None:
        self.path = path
        self.is_new = is_new
        self._unused = is_new or record.refused
        self._lock = lock
        self._record = record
        self._incarnations: dict[str, int] = {}

    @classmethod
    def open(cls, path: str, start: Start) -> DataFolder:
        """Lock the folder, making it if need be, and check that ``start`` fits what it holds.

        BusyError if another supervisor has it; FolderError if it is another job's, of another
        ``max_parallelism``, of a newer version, or not writable.
        """
        path = os.path.abspath(path)
        _make(path)
        lock = FolderLock.acquire(os.path.join(path, "lock"))
        try:
            record, is_new = _load(path, start)
            _adopt_format_1(path, record.generation)
            folder = cls(path, lock, record, is_new=is_new)
            folder._load_incarnations()
        except BaseException:
            lock.release()
            raise
        return folder

    @property
    def record(self) -> JobRecord:
        """What is known of the job."""
        return self._record

    @property
    def holds_state(self) -> bool:
        """Whether something was ever served from it, or restored into it."""
        return not self._unused

    @property
    def is_inconsistent(self) -> bool:
        """Whether a power cut may have taken more from one worker than from another: in ``process`` only."""
        record = self._record
        same_boot = record.boot_id == progress.boot_id().hex()
        return self.holds_state and record.durability != "disk" and not record.clean and not same_boot

    def number_operators(self, uids: Iterable[str]) -> dict[str, int]:
        """A number for each uid: the one it has had, else one that none ever had. Durable with begin_run."""
        numbers = dict(self._record.operators)
        following = self._record.next_operator
        wanted = list(uids)
        for uid in wanted:
            if uid not in numbers:
                numbers[uid] = following
                following += 1
        if following - 1 > MAX_OPERATOR_NUMBER:
            raise FolderError(
                f"{self.path} has seen more than {MAX_OPERATOR_NUMBER} operators",
                help="start this job in a new --data-dir",
            )
        self._record = replace(self._record, operators=numbers, next_operator=following)
        return {uid: numbers[uid] for uid in wanted}

    def begin_run(self, durability: str, fingerprint: list[Any], served_from: str = "") -> None:
        """A run begins: durably no longer clean."""
        before = self._record
        weakest = "process" if before.durability == "process" and not before.clean else durability
        self._record = replace(
            before,
            durability=weakest,
            fingerprint=fingerprint,
            boot_id=progress.boot_id().hex(),
            clean=False,
            refused=False,
            untouched=False,
            served_from=served_from,
            upgraded_at="",
        )
        if self.is_new:
            self._save_incarnations()
        self._save()
        self.is_new = False

    def mark_ready(self, durability: str) -> None:
        """Every worker has recovered, and in ``disk`` synced what an earlier ``process`` run left."""
        self._unused = False
        if self._record.durability != durability:
            self._record = replace(self._record, durability=durability)
            self._save()

    def mark_refused(self) -> None:
        """This start came to nothing before a worker was ready: the first one binds the folder to nothing."""
        if self._unused:
            self._record = replace(self._record, refused=True, clean=True)
            self._save()

    def mark_clean(self) -> None:
        """Every worker has flushed, synced and left."""
        self._record = replace(self._record, clean=True)
        self._save()

    def raise_incarnations(self, names: Iterable[str]) -> dict[str, int]:
        """Durably give each process its next incarnation; to be called before it is started."""
        raised = {name: self._incarnations.get(name, 0) + 1 for name in names}
        self._incarnations.update(raised)
        self._save_incarnations()
        return raised

    def skip_incarnations(self, used: Mapping[str, int]) -> None:
        """Durably never give these, or lower ones, to anybody: records that they have made are restored."""
        for name, incarnation in used.items():
            self._incarnations[name] = max(incarnation, self._incarnations.get(name, 0))
        self._save_incarnations()

    def process_folder(self, name: str, generation: int | None = None) -> str:
        """The folder of a worker, in the generation that counts if none is named; made if need be."""
        path = worker_folder(self.path, generation or self._record.generation, name)
        _make(path)
        return path

    def page_path(self, name: str) -> str:
        """Where the progress page of a process is."""
        pages = os.path.join(self.path, "pages")
        _make(pages)
        return os.path.join(pages, f"{name}.page")

    # --- epochs and generations -------------------------------------------------------------------------

    def next_epoch(self) -> int:
        """Durably give out the next snapshot epoch."""
        self._record = replace(self._record, epoch=self._record.epoch + 1)
        self._save()
        return self._record.epoch

    @property
    def incarnations(self) -> dict[str, int]:
        """How often each process was started."""
        return dict(self._incarnations)

    def set_parallelisms(self, parallelisms: Mapping[str, int]) -> None:
        """What is left of those that a rescale set. Durable with begin_run."""
        self._record = replace(self._record, parallelisms=dict(parallelisms))

    def draft_generation(self) -> tuple[int, str]:
        """The number and the empty folder of the next generation; it counts once ``switch`` says so."""
        if self.is_new:
            self._claim()
        generation = self._record.generation + 1
        path = generation_folder(self.path, generation)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
        _make(path)
        return generation, path

    def _claim(self) -> None:
        """A crash must not leave a draft in a folder that nobody knows to be ours: it then holds nothing."""
        self._record = replace(self._record, refused=True)
        self._save_incarnations()
        self._save()
        self.is_new = False

    def drop_draft(self) -> None:
        """The next generation came to nothing."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(generation_folder(self.path, self._record.generation + 1))

    def switch(self, **changes: Any) -> None:
        """From now on the drafted generation counts, durably, with ``changes`` of the record."""
        before = self._record
        self._record = replace(before, generation=before.generation + 1, refused=False, **changes)
        try:
            self._save()
        except StorageFullError:  # the file is as it was, and so is what will be written into it later
            self._record = before
            raise
        self._unused = False

    def remove_older_generations(self) -> None:
        """Nothing will go back to them; a draft that a crash has left goes, too."""
        for name in os.listdir(self.path):
            found = _GENERATION_FOLDER.fullmatch(name)
            if found and int(found[1]) != self._record.generation:
                shutil.rmtree(os.path.join(self.path, name), ignore_errors=True)
        pages = os.path.join(self.path, "pages")
        for name in os.listdir(pages) if os.path.isdir(pages) else ():
            if (found := _WORKER_PAGE.fullmatch(name)) and int(found[1]) != self._record.generation:
                os.unlink(os.path.join(pages, name))

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Say where the running supervisor is found."""
        self._write("run.json", run)

    def end_run(self) -> None:
        """No supervisor is running any more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, "run.json"))

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _save_incarnations(self) -> None:
        self._write("incarnations.json", {"incarnations": self._incarnations})

    def _save(self) -> None:
        self._write("job.json", asdict(self._record))

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(os.path.join(self.path, name), sealed({"format": FORMAT_VERSION, **content}))

    def _load_incarnations(self) -> None:
        path = os.path.join(self.path, "incarnations.json")
        content = _read_json(path)
        if content is None and not self.is_new:
            raise CorruptionError(
                f"{path} is missing: numbers that were used would be used again",
                help="put the file back, or start in a new --data-dir",
            )
        self._incarnations = dict(content["incarnations"]) if content and not self.is_new else {}


def upgraded_to(served_from: str) -> dict[str, str]:
    """What the switch of an upgrade changes in the record."""
    return {"served_from": served_from, "upgraded_at": datetime.now(UTC).isoformat(timespec="seconds")}


def generation_folder(path: str, generation: int) -> str:
    """Where the workers of one generation keep what is theirs."""
    return os.path.join(path, f"g{generation}")


def worker_folder(path: str, generation: int, name: str) -> str:
    """The folder of one worker in a data folder."""
    return os.path.join(generation_folder(path, generation), name)


def _adopt_format_1(path: str, generation: int) -> None:
    """Workers' folders stood beside job.json once. Done again from where a crash interrupted it."""
    old = [name for name in os.listdir(path) if _WORKER_FOLDER.fullmatch(name)]
    if not old:
        return
    target = generation_folder(path, generation)
    _make(target)
    for name in old:
        os.rename(os.path.join(path, name), os.path.join(target, name))
    sync_folder(target)
    sync_folder(path)


def default_folder(job: str) -> str:
    """Where state goes without --data-dir, relative to the current folder: ``.mini_flink/<job>``."""
    name = "".join(char if char.isalnum() or char in "-_." else "_" for char in job).strip(".") or "job"
    return os.path.join(".mini_flink", name)


def near_folder(path: str) -> str:
    """What to say of a data folder that is not there: the nearest one beside it that holds a job, if any."""
    if os.path.isdir(path):
        return ""
    parent, name = os.path.split(os.path.normpath(path))
    try:
        beside = [entry.name for entry in os.scandir(parent or ".") if entry.is_dir()]
    except OSError:
        return ""
    jobs = [each for each in beside if os.path.exists(os.path.join(parent, each, "job.json"))]
    match = nearest(name, jobs)
    return f"did you mean {os.path.join(parent, match)}?" if match else ""


def read_run(path: str) -> dict[str, Any] | None:
    """Where the supervisor that runs on this data folder is found; None if none says so."""
    return _read_json(os.path.join(path, "run.json"))


def read_job(path: str) -> dict[str, Any] | None:
    """What job.json of a data folder says, without taking the folder; None if it holds no job."""
    return _read_json(os.path.join(path, "job.json"))


def sealed(content: Mapping[str, Any]) -> bytes:
    """A file's content with its checksum: a number in it that has rotted would be believed otherwise."""
    return json.dumps({**content, "sha256": _checksum(content)}, indent=1).encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_atomically(path: str, data: bytes) -> None:
    """Replace a file; when this returns, the new content survives a power cut."""
    temporary = f"{path}.new"
    try:
        with open(temporary, "wb", opener=_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        raise storage_error(path, error) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make(path: str) -> None:
    try:
        parent = os.path.dirname(path)
        if not os.path.isdir(path):
            if not os.path.isdir(parent):
                _make(parent)
            os.mkdir(path, 0o700)
        with contextlib.suppress(PermissionError):  # a parent that only lets pass, as systemd's
            sync_folder(parent)  # always: a killed process may have made it and not come as far as this
    except OSError as error:
        raise FolderError(
            f"{path} cannot be made: {error.strerror}",
            help="give this user write access, or choose another --data-dir",
        ) from error


def _load(path: str, start: Start) -> tuple[JobRecord, bool]:
    content = _read_json(os.path.join(path, "job.json"))
    if content is None:
        _refuse_foreign(path, start)
        return _new_record(start), True
    content.pop("format")
    try:
        record = JobRecord(**content)
    except TypeError as error:
        raise CorruptionError(f"{path}/job.json is damaged: {error}") from error
    if record.refused:
        return _begin_anew(path, record, start), False
    _check(path, record, start)
    return record, False


def _begin_anew(path: str, record: JobRecord, start: Start) -> JobRecord:
    """The record of a folder that never served: as new, but for numbers that must not be used again."""
    for name in os.listdir(path):
        if _WORKER_FOLDER.fullmatch(name) or _GENERATION_FOLDER.fullmatch(name):
            shutil.rmtree(os.path.join(path, name))
    return replace(
        _new_record(start),
        folder_id=record.folder_id,
        operators=record.operators,
        next_operator=record.next_operator,
        epoch=record.epoch,
        refused=True,
    )


def _new_record(start: Start) -> JobRecord:
    return JobRecord(
        job=start.job,
        folder_id=int.from_bytes(os.urandom(4), "big"),
        workers=start.workers or start.default_workers,
        max_parallelism=start.max_parallelism,
        durability=start.durability,
        boot_id=progress.boot_id().hex(),
    )


def _refuse_foreign(path: str, start: Start) -> None:
    foreign = sorted(set(os.listdir(path)) - _OUR_FIRST_FILES)
    if foreign == [SNAPSHOTS] and not start.restores:
        raise FolderError(
            f"{path} holds snapshots and no state of a job",
            help="--restore latest goes on from the last one; a new --data-dir begins anew",
        )
    if foreign and foreign != [SNAPSHOTS]:
        raise FolderError(
            f"{path} holds other files ({foreign[0]}) and no state of a job",
            help="choose an empty or a new folder with --data-dir",
        )


def _check(path: str, record: JobRecord, start: Start) -> None:
    if record.job != start.job:
        raise FolderError(
            f"{path} belongs to job {record.job!r}, not to {start.job!r}",
            help=f"serve {record.job!r} from it, or choose another --data-dir",
        )
    if record.max_parallelism != start.max_parallelism:
        raise FolderError(
            f"{path} was made with max_parallelism {record.max_parallelism}; the job now says "
            f"{start.max_parallelism}",
            help=f"set_max_parallelism({record.max_parallelism}): it decides where each key's state is kept",
        )


def _read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            content = json.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FolderError(
            f"{path} cannot be read: {error.strerror}",
            help="name the folder that serve was given as --data-dir, and be who may read it",
        ) from error
    except ValueError as error:
        raise CorruptionError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise CorruptionError(f"{path} is damaged: it names no format version")
    if content["format"] > FORMAT_VERSION:
        raise FolderError(
            f"{path} has format {content['format']}; this version reads up to {FORMAT_VERSION}",
            help="serve the folder with the newer mini_flink that made it",
        )
    checksum = content.pop("sha256", None)
    if content["format"] != _WITHOUT_CHECKSUM and checksum != _checksum(content):
        raise CorruptionError(
            f"{path} is damaged: its checksum does not fit",
            help="put back a copy of it, or start in a new --data-dir from a snapshot",
        )
    return content

"""What is in keyed state: asked of the workers if a server runs on the folder, else read from the folder.

Without a server the tables are read and what only the logs have is redone in memory, by the recovery that
every start runs: what is shown is what the last commit left, after ``kill -9`` as well. Nothing is changed.
Called by the command ``state`` and by the admin process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from mini_flink import procfs, progress
from mini_flink.asking import RefusedError, ask, is_running
from mini_flink.config import Settings
from mini_flink.errors import BusyError, FolderError, MiniFlinkError, UsageError
from mini_flink.folder import read_job, worker_folder
from mini_flink.ids import worker_name
from mini_flink.key_text import Reading, readings
from mini_flink.keys import subtask_of_group
from mini_flink.locks import read_holder
from mini_flink.runners.generations import LOCK, STATE, recovered
from mini_flink.state.position import Position
from mini_flink.suggest import nearest
from mini_flink.worker.keyed import KeyedStates

ANSWER_S = 30.0
"""A worker that hangs is killed before that."""

REST_TIMES = 3
"""How many times longer than an answer took a long scan waits before it asks for more."""

Known = list[list[str]]
"""Per state: operator, name, kind and type, as a worker tells them."""


class Teller(Protocol):
    """Whoever answers the questions of ``worker.keyed``: a server, or what it has left."""

    def __call__(self, question: Mapping[str, Any]) -> dict[str, Any]: ...


def get(tell: Teller, key: str, operator: str | None = None, state: str | None = None) -> dict[str, Any]:
    """The state of a key, which is written as ``key_text`` says; narrowed to an operator, or a state.

    UsageError for a name that is none; RefusedError or UnavailableError if it cannot be told now.
    """
    read, *others = readings(key)
    told = _of_key(tell, read, operator, state)
    rows: list[dict[str, Any]] = sorted(told["states"], key=lambda row: (row["operator"], row["state"]))
    hints = [each.text for each in others if not rows and _of_key(tell, each, operator, state)["states"]]
    return {
        "key": json.loads(read.text),
        "states": [_public(row) for row in rows],
        "owners": sorted(told["owners"], key=lambda owner: str(owner["operator"])),
        "hint": f"the string {hints[0]} has state: ask for '{hints[0]}'" if hints else "",
    }


def _of_key(tell: Teller, key: Reading, operator: str | None, state: str | None) -> dict[str, Any]:
    told = tell({"do": "get", "key": key.encoded, "operator": operator, "state": state})
    _check_names(told["known"], operator, state)
    return told


def scan(
    tell: Teller, operator: str, state: str | None = None, limit: int = 100, after: str | None = None
) -> dict[str, Any]:
    """Up to ``limit`` rows, one per key and state, in stored order, and the cursor of the next page or None.

    Each row is as committed at the moment when its part of the page was read. Errors as ``get``.
    """
    Position.read(after)
    rows: list[dict[str, Any]] = []
    while True:
        question = {"operator": operator, "state": state, "limit": limit - len(rows), "after": after}
        told = tell({"do": "scan", **question})
        _check_names(told["known"], operator, state)
        rows += map(_public, told["rows"])
        after = told["after"]
        if after is None or len(rows) >= limit:
            return {"rows": rows, "after": after}


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for programs: key and value as JSON, where they are whole."""
    shown = {**row, "key": None if row["key_cut"] else json.loads(row["key"]), "key_text": row["key"]}
    shown["value"] = None if row["json"] is None else json.loads(row["json"])
    return {name: value for name, value in shown.items() if name not in ("json", "key_cut")}


# --- names --------------------------------------------------------------------------------------------------


def _check_names(known: Known, operator: str | None, state: str | None) -> None:
    """UsageError, with what was probably meant, if no state is of that operator or has that name."""
    operators = sorted({uid for uid, *_ in known})
    states = sorted({name for uid, name, *_ in known if operator in (None, uid)})
    if not known:
        raise UsageError("no operator of this job has keyed state", help="state belongs to a key: .key_by(…)")
    if operator is not None and operator not in operators:
        raise UsageError(
            f"no operator {operator!r} has keyed state", help=_meant(operator, operators, "operators")
        )
    if state is not None and state not in states:
        where = "the job" if operator is None else f"operator {operator!r}"
        raise UsageError(f"{where} has no state {state!r}", help=_meant(state, states, "states"))


def _meant(name: str, known: list[str], what: str) -> str:
    match = nearest(name, known)
    listed = (
        f"{what} with state: {', '.join(known)}" if what == "operators" else f"its states: {', '.join(known)}"
    )
    return f"did you mean {match}? {listed}" if match else listed


# --- a server, or its folder --------------------------------------------------------------------------------


def server(data_dir: str) -> Teller:
    """The server that runs on ``data_dir``; UnavailableError, when it is asked, if there is none.

    Who asks it again and again leaves it most of its time for its work.
    """
    rest_until = 0.0

    def tell(question: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal rest_until
        time.sleep(max(0.0, rest_until - time.monotonic()))
        began = time.monotonic()
        told = ask(data_dir, "state", question, limit_s=ANSWER_S)
        ended = time.monotonic()
        rest_until = ended + REST_TIMES * (ended - began)
        return told

    return tell


@contextmanager
def opened(data_dir: str) -> Iterator[Teller]:
    """The server that runs on ``data_dir``, or else the folder; not where the folder is open already.

    FolderError if it holds nothing that can be told, BusyError if a server was started meanwhile.
    """
    if is_running(data_dir):
        yield server(data_dir)
        return
    folder = _Folder(data_dir)
    with folder.undisturbed():
        yield folder.tell


class _Folder:
    """A data folder on which no server runs."""

    def __init__(self, data_dir: str) -> None:
        record = read_job(data_dir)
        if record is None:
            raise FolderError(
                f"{data_dir} holds no job", help="name the folder that serve was given as --data-dir"
            )
        unclean = record["durability"] != "disk" and not record["clean"] and not record.get("refused")
        if unclean and record["boot_id"] != progress.boot_id().hex():
            raise FolderError(
                f"what {data_dir} holds may be of several moments: it was served with durability 'process' "
                "when the host went down",
                help="start the server: it goes back to its last snapshot",
            )
        self._data_dir = data_dir
        self._generation = int(record.get("generation", 1))
        self._workers = int(record["workers"])
        self._max_parallelism = int(record["max_parallelism"])
        self._uids = {number: uid for uid, number in record["operators"].items()}
        self._stack = ExitStack()
        self._opened: dict[int, KeyedStates] = {}

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """BusyError if a server came to the folder meanwhile, or what is left of one still works in it."""
        before = self._holders()
        for path, holder in before.items():
            if holder is not None and procfs.is_alive(holder):
                raise BusyError(
                    f"{os.path.dirname(path)} is still in use by pid {holder.pid}",
                    help="ask again in a moment",
                )
        try:
            with self._stack:
                yield
        except MiniFlinkError as error:
            if self._holders() != before:
                raise self._came() from error
            raise
        if self._holders() != before:
            raise self._came()

    def _came(self) -> BusyError:
        return BusyError(
            f"a server was started on {self._data_dir} while it was read", help="ask again: it will answer"
        )

    def _holders(self) -> dict[str, procfs.Process | None]:
        folders = [self._data_dir, *map(self._folder_of, range(self._workers))]
        locks = [os.path.join(folder, LOCK) for folder in folders]
        return {lock: read_holder(lock) for lock in locks}

    def _folder_of(self, worker: int) -> str:
        return worker_folder(self._data_dir, self._generation, worker_name(worker))

    def tell(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """As the workers would."""
        told = self._answer(question)
        if "reason" in told:
            raise RefusedError(told)
        return told

    def _answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if question["do"] == "get":
            answers = [self._worker(index).look(question) for index in range(self._workers)]
            return {
                name: [each for answer in answers for each in answer[name]]
                for name in ("states", "owners", "known")
            }
        group = Position.read(question["after"]).group
        first = self._worker(0)  # which has a subtask of each operator
        parallelism = first.parallelism_of(question["operator"])
        if parallelism is None or group >= self._max_parallelism:
            return first.look(question)
        subtask = subtask_of_group(group, self._max_parallelism, parallelism)
        return {**self._worker(subtask % self._workers).look(question), "known": first.known()}

    def _worker(self, index: int) -> KeyedStates:
        if index not in self._opened:
            folder = Path(self._folder_of(index))
            if not (folder / STATE / "data.mdb").exists():
                raise FolderError(
                    f"{folder} holds no table: its worker never started, or an older version wrote it",
                    help="start the server, and ask again",
                )
            overlay = recovered(
                self._stack, folder, worker_name(index), self._generation, self._workers, Settings()
            )
            self._opened[index] = KeyedStates(
                overlay, self._uids, index, self._workers, self._max_parallelism
            )
        return self._opened[index]

"""The resharder: loads the job, copies the old workers' state beside them, and ends what is to be added.

It reads the tables of workers that go on serving (LMDB's readers do not disturb its writer) and writes only
below the next generation's folder, which counts for nothing before the supervisor says so. It gives way to
whoever serves. Called as ``python -m mini_flink.resharder SPEC``.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import setproctitle

from mini_flink import console, faults, wire
from mini_flink.config import Settings
from mini_flink.core.compatibility import DeclaredState, StoredJob
from mini_flink.drawings.captions import key_names, locations
from mini_flink.errors import FolderError, MiniFlinkError
from mini_flink.failures import render_error
from mini_flink.faults import crash_point
from mini_flink.ids import SUPERVISOR, worker_name
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.pinned import PinnedSources
from mini_flink.priority import be_nicer
from mini_flink.runners.generations import STATE, GenerationBuilder
from mini_flink.runners.headway import watched
from mini_flink.runners.rebuild import Before, Rebuild
from mini_flink.runners.stored import states_in
from mini_flink.spec import ProcessSpec, check_fingerprint
from mini_flink.state.lmdb import LmdbTable
from mini_flink.transport.zmq import ZmqTransport
from mini_flink.worker.tails import read_tail, remove_tails

LAST_WORD_MS = 1000
NICE = 10
TELL_EVERY_S = 0.5
WRITE_EVERY_S = 1.0
_RECEIVE_LIMIT = 10


class ResharderProcess:
    """One re-shard, from its specification to its end."""

    def __init__(self, spec: ProcessSpec) -> None:
        self._spec = spec
        self._task = spec.task
        self._settings = Settings.from_dict(spec.settings)
        self._folder = Path(self._task["folder"])
        self._builder: GenerationBuilder | None = None
        self._pinned = PinnedSources()
        self._copied_due_s = 0.0
        self._transport = ZmqTransport()
        self._transport.bind(spec.endpoint)
        self._transport.connect(SUPERVISOR, spec.supervisor_endpoint)

    def run(self) -> int:
        """Do what the supervisor asks for, step by step; the exit code."""
        with ExitStack() as stack:
            stack.callback(self._transport.close, LAST_WORD_MS)
            try:
                self._tell(wire.READY, self._prepare())
                self._serve()
            except MiniFlinkError as error:
                told: dict[str, Any] = {"text": render_error(error), "exit_code": error.exit_code}
                told |= {"unfit": error.message} if isinstance(error, FolderError) else {}
                self._tell(wire.FAILED, {**told, "sources": self._write_sources()})
                return error.exit_code
        return 0

    def _serve(self) -> None:
        while True:
            self._transport.wait(None, [])
            for message in map(wire.decode, self._transport.receive(_RECEIVE_LIMIT)):
                if not isinstance(message, wire.Control):
                    continue
                if message.kind == wire.COPY:
                    self._copy_again() if message.data["again"] else self._copy()
                    self._tell(wire.COPIED, {})
                elif message.kind == wire.BUILD:
                    self._build()
                    self._tell(wire.BUILT, {})

    def _tell_copied(self, items: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._copied_due_s:
            self._copied_due_s = now_s + TELL_EVERY_S
            self._tell(wire.COPYING, {"items": items, "total": total})

    def _tell(self, kind: int, data: dict[str, Any]) -> None:
        spec = self._spec
        message = wire.encode_control(kind, spec.name, spec.incarnation, spec.generation, data)
        self._transport.send(SUPERVISOR, message)

    # --- prepare ----------------------------------------------------------------------------------------

    def _prepare(self) -> dict[str, Any]:
        """Load the job and hold it against what is stored; what the supervisor must know of it."""
        spec = self._spec
        self._pinned = PinnedSources.read(spec.sources)
        with self._telling_what_is_read():
            target = JobTarget.from_dict(spec.job)
            self._graph = graph = load_graph(target, quiet=True, sources=self._pinned)
        if self._task["same_job"]:
            check_fingerprint(spec, graph)
        with ExitStack() as stack:
            self._rebuild = rebuild = self._judge(self._open(stack), None)
        return {
            "job_name": graph.name,
            "fingerprint": graph.fingerprint(),
            "numbers": rebuild.operators,
            "next_operator": rebuild.next_operator,
            "parallelisms": rebuild.parallelisms,
            "operator_names": {str(number): node.name for number, node in rebuild.plan.operators.items()},
            "locations": locations(graph),
            "key_names": key_names(graph),
            "findings": rebuild.findings(),
            "sources": self._write_sources(),
        }

    @contextmanager
    def _telling_what_is_read(self) -> Iterator[None]:
        """Under ``--dev``: keep written which files were read, for who watches them while the job hangs."""
        loaded = threading.Event()

        def write() -> None:
            with suppress(MiniFlinkError):  # it is written once more when it has loaded, and said then
                self._write_sources()
                while not loaded.wait(WRITE_EVERY_S):
                    self._write_sources()

        if not self._settings.dev or self._spec.sources:
            yield
            return
        writer = threading.Thread(target=write, name="mini_flink sources", daemon=True)
        writer.start()
        try:
            yield
        finally:
            loaded.set()
            writer.join()

    def _write_sources(self) -> str:
        """What was read of the user's files, also of those that did not load; the path."""
        return self._spec.sources or self._pinned.write(self._spec.runtime_dir, self._spec.generation)

    def _judge(self, sources: list[LmdbTable], declared: Sequence[DeclaredState] | None) -> Rebuild:
        """Hold the job against what is in the tables now; FolderError with all reasons if it does not fit."""
        spec, task = self._spec, self._task
        states = states_in(sources, spec.numbers, spec.max_parallelism)
        stored = StoredJob(task["job_name"], spec.max_parallelism, states, spec.fingerprint)
        before = Before(stored, spec.numbers, task["next_operator"], task["old_parallelisms"])
        return Rebuild(
            self._graph,
            before,
            spec.workers,
            spec.parallelisms,
            allow_dropped=task["allow_dropped_state"],
            is_same_job=task["same_job"],
            declared=declared,
        )

    def _open(self, stack: ExitStack) -> list[LmdbTable]:
        """The old workers' tables as they are now."""
        tables = []
        for folder in self._task["old_folders"]:
            table = LmdbTable(
                Path(folder) / STATE,
                map_size_bytes=self._settings.state_map_bytes,
                generation=self._task["old_generation"],
            )
            stack.callback(table.close)
            tables.append(table)
        return tables

    # --- copy, then build -------------------------------------------------------------------------------

    def _copy(self) -> None:
        with ExitStack() as stack:
            sources = self._open(stack)
            # Workers write what they declare with their first flush: it may have come since the first look.
            self._rebuild = self._judge(sources, self._rebuild.declared)
            self._builder = builder = self._new_builder()
            self._rebuild.copy(watched(sources, self._tell_copied), builder)
            crash_point("mid_copy")
            builder.sync()

    def _copy_again(self) -> None:
        """What had changed when the workers were last asked."""
        with ExitStack() as stack:
            self._add_changes(self._open(stack)).sync()

    def _add_changes(self, sources: list[LmdbTable]) -> GenerationBuilder:
        """Bring the copy up to what the workers have named; everything is copied if one could not."""
        tails = [read_tail(self._folder, worker) for worker in range(len(sources))]
        changed = [sorted(keys) for keys in tails if keys is not None]
        before, self._rebuild = self._rebuild, self._judge(sources, self._rebuild.declared)
        # A state that was empty may have got its first value meanwhile, of a type that does not fit.
        if self._builder is None or len(changed) < len(tails) or not self._rebuild.moves_as(before):
            return self._copy_anew(sources)
        self._rebuild.copy_again(sources, changed, self._builder)
        return self._builder

    def _new_builder(self) -> GenerationBuilder:
        spec = self._spec
        return GenerationBuilder(self._folder, spec.generation, spec.workers, self._settings.state_map_bytes)

    def _build(self) -> None:
        """The old workers have stopped: add what they have left."""
        if not self._settings.dev:
            be_nicer(-NICE)
        with ExitStack() as stack:
            sources = self._open(stack)
            builder = self._add_changes(sources)
            crash_point("mid_build")
            self._rebuild.close(sources, self._task["epoch"], builder)
            builder.close()
        remove_tails(self._folder, len(self._task["old_folders"]))

    def _copy_anew(self, sources: list[LmdbTable]) -> GenerationBuilder:
        """More has changed than keys that workers can name: nothing of the first copy is worth anything."""
        if self._builder is not None:
            self._builder.close()
        for worker in range(self._spec.workers):
            shutil.rmtree(self._folder / worker_name(worker), ignore_errors=True)
        self._builder = builder = self._new_builder()
        self._rebuild.copy(watched(sources, self._tell_copied), builder)
        return builder


def _end_with(alive_fd: int) -> None:
    """End this process, in the middle of whatever it does, when the supervisor is gone."""

    def watch() -> None:
        select.select([alive_fd], [], [])  # nobody writes: it is readable when the last writer is gone
        os._exit(0)

    threading.Thread(target=watch, name="mini_flink supervisor's end", daemon=True).start()


def main(argv: list[str]) -> int:
    """Be the resharder that the specification in ``argv[1]`` describes."""
    spec = ProcessSpec.read(argv[1])
    faults.enable(spec.name)
    setproctitle.setproctitle(f"mini_flink {spec.role}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    console.choose(spec.log, os.environ, spec.job_name)
    console.install(spec.role, spec.console_lock)
    if not spec.settings.get("dev"):  # somebody waits for it
        be_nicer(NICE)
    # What it writes is nobody's then, and whoever comes next may begin the same generation again.
    _end_with(spec.alive_fd)
    return ResharderProcess(spec).run()

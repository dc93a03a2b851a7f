"""A job's tasks on real overlays, without channels and commits: what one record does, everywhere, at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from mini_flink import plan as planning
from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.execution import executing_with
from mini_flink.graph import JobGraph
from mini_flink.keys import encode_key, key_group, subtask_of_group
from mini_flink.operators.failure import OperatorFailure
from mini_flink.operators.runtime import Task, build_task
from mini_flink.records import Origin
from mini_flink.state.overlay import Overlay
from mini_flink.values import encode

ORIGIN = Origin(gateway=0, incarnation=1, request=7, deadline_ms=10_000, timestamp_ms=123)
FOLDER_ID = 0xC0FFEE


class Table:
    """Nothing was flushed yet."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return []


class Registry:
    """Numbers the states of each operator as they come."""

    def __init__(self) -> None:
        self.registered: dict[tuple[int, str], tuple[str, str, int]] = {}

    def register(self, operator_number: int, name: str, kind: str, type_text: str, parallelism: int) -> int:
        self.registered.setdefault((operator_number, name), (kind, type_text, parallelism))
        return [key for key in self.registered if key[0] == operator_number].index((operator_number, name))


class Sent(NamedTuple):
    stage: int
    subtask: int
    key: bytes | None
    value: bytes


class Answered(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    content_type: str | None
    body: bytes


class Worker:
    """One worker's tasks, its overlay, and the outputs of the record at work."""

    def __init__(self, plan: planning.Plan, index: int) -> None:
        self.store = Overlay(Table())
        self.registry = Registry()
        self.sent: list[Sent] = []
        self.answered: list[Answered] = []
        self.tasks: dict[int, Task] = {
            number: build_task(plan, stage, index, self.store, self.registry, self, folder_id=FOLDER_ID)
            for number, stage in plan.stages.items()
        }

    def emit(self, stage: int, subtask: int, key: bytes | None, value: bytes) -> None:
        self.sent.append(Sent(stage, subtask, key, value))

    def reply(
        self,
        operator: int,
        status: int,
        headers: list[tuple[str, str]],
        content_type: str | None,
        body: bytes,
    ) -> None:
        self.answered.append(Answered(status, headers, content_type, body))

    def process(self, record: Sent, origin: Origin | None) -> tuple[list[Sent], list[Answered]]:
        self.store.mark()
        self.sent, self.answered = [], []
        try:
            self.tasks[record.stage].process(record.subtask, record.key, record.value, origin)
        except OperatorFailure:
            self.store.undo()
            raise
        return self.sent, self.answered


class Job:
    """A whole job; ``feed`` runs one value through all stages and gives the answers."""

    def __init__(self, graph: JobGraph, workers: int) -> None:
        self.plan = planning.build(graph, workers, {node.uid: node.id + 1 for node in graph.nodes})
        self.workers = [Worker(self.plan, index) for index in range(workers)]
        self.tasks = [task for worker in self.workers for task in worker.tasks.values()]
        self.failures: list[OperatorFailure] = []
        for task in self.tasks:
            task.open()

    def feed(self, value: Any, *, source: int = 0, origin: Origin | None = ORIGIN) -> list[Answered]:
        answers: list[Answered] = []
        waiting = deque([self.route(value, source)])
        while waiting:
            record = waiting.popleft()
            worker = self.workers[self.plan.worker_of(record.stage, record.subtask)]
            try:
                sent, answered = worker.process(record, origin)
            except OperatorFailure as failure:
                self.failures.append(failure)
            else:
                waiting += sent
                answers += answered
        return answers

    def route(self, value: Any, source: int = 0) -> Sent:
        target = self.plan.sources[source]
        if target.selector is None:
            return Sent(target.stage, 0, None, encode(value))
        key = encode_key(target.selector(value))
        group = key_group(key, self.plan.max_parallelism)
        subtask = subtask_of_group(group, self.plan.max_parallelism, target.parallelism)
        return Sent(target.stage, subtask, key, encode(value))

    def failure(self, value: Any) -> OperatorFailure:
        """The one failure of a value that leads to one, and to nothing else."""
        assert self.feed(value) == []
        [failure] = self.failures
        self.failures.clear()
        return failure


@pytest.fixture
def job_of() -> Callable[..., Job]:
    """A job that a function builds on a new environment, opened on some workers."""

    def build(job: Callable[[StreamExecutionEnvironment], object], workers: int = 1) -> Job:
        graphs: list[JobGraph] = []
        with executing_with(graphs.append):
            env = StreamExecutionEnvironment.get_execution_environment()
            job(env)
            env.execute("test")
        return Job(graphs[0], workers)

    return build

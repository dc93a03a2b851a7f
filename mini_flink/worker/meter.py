"""What a worker measures: how long records wait, run and take to be committed, and at which operator.

Owns the names of a worker's metrics. The engine leaves a list per batch here; all that can wait is done when
metrics are published, a few times a second. Never writes a file: that is the publisher's.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mini_flink import metrics
from mini_flink.core.base import Ran
from mini_flink.metrics import Counter, Gauge, Histogram, OperatorCounters, Registry
from mini_flink.operators.operator import Operator
from mini_flink.operators.runtime import Task
from mini_flink.state.sizes import Size, Sizes

BATCH_RECORDS = "mini_flink_batch_records"
COMMIT_SECONDS = "mini_flink_commit_seconds"
OPERATOR_BUSY = "mini_flink_operator_busy_seconds_total"
STAGE_LATENCY = "mini_flink_stage_latency_seconds"
STAGE_OLDEST = "mini_flink_stage_oldest_seconds"
STAGE_QUEUE = "mini_flink_stage_queue_records"
STAGE_WAIT = "mini_flink_stage_queue_wait_seconds_total"
DEAD_LETTERS = "mini_flink_dead_letters_present"
OPERATOR_KEYS = "mini_flink_operator_state_keys"
OPERATOR_STATE = "mini_flink_operator_state_bytes"
STATE_BYTES = "mini_flink_state_bytes"
WORKER_CLOCK = "mini_flink_worker_published_seconds"
WORKER_BUSY = "mini_flink_worker_busy_seconds_total"
MAP = "map"
"""The kind of state that has several items for a key."""


class _Stage:
    """The metrics of one stage."""

    __slots__ = ("latency", "oldest", "queue", "wait")

    def __init__(self, registry: Registry, uid: str) -> None:
        labels = {"operator": uid}
        self.latency: Histogram = registry.histogram(
            STAGE_LATENCY, labels, "From a record's arrival at the worker to its commit."
        )
        self.wait: Counter = registry.counter(STAGE_WAIT, labels, "Time that records waited for their turn.")
        self.queue: Gauge = registry.gauge(STAGE_QUEUE, labels, "Records that wait for their turn.")
        self.oldest: Gauge = registry.gauge(STAGE_OLDEST, labels, "How long the oldest of them has waited.")

    def take(self, wait_s: float, latency_s: float, times: int) -> None:
        """Records of one time of arrival are committed."""
        self.wait.value += wait_s
        self.latency.observe_seconds(latency_s, times)


class _Subtask:
    """The operators of a stage in one subtask, and how its busy time is split among them.

    Only some records are timed operator by operator; they say which part of the whole, which is measured for
    all records, each operator had since it was last asked. Before any was timed it is the head's.
    """

    def __init__(self, registry: Registry, operators: Sequence[Operator]) -> None:
        self._operators = operators
        self._timed = [0.0] * len(operators)
        self._parts = [1.0] + [0.0] * (len(operators) - 1)
        self._counters = [OperatorCounters(registry, one.node.uid, one.subtask) for one in operators]
        self._busy = [
            registry.counter(
                OPERATOR_BUSY,
                {"operator": one.node.uid, "subtask": str(one.subtask)},
                "Time that an operator ran: its stage's, split by samples.",
            )
            for one in operators
        ]

    def publish(self, busy_s: float) -> None:
        """Take over what the operators count, and ``busy_s`` since the last time."""
        timed = [operator.counts.timed_s for operator in self._operators]
        new = [now - before for now, before in zip(timed, self._timed, strict=True)]
        if (whole := sum(new)) > 0:
            self._parts = [part / whole for part in new]
            self._timed = timed
        for index, operator in enumerate(self._operators):
            counts = operator.counts
            self._counters[index].set(counts.records_in, counts.records_out, counts.failures)
            self._busy[index].value += busy_s * self._parts[index]


class WorkerMeter:
    """The ``Meter`` of a worker. ``watch`` comes once its tasks are built."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._commit = registry.histogram(COMMIT_SECONDS, help="Time to write a commit, and to sync it.")
        self._records = registry.histogram(
            BATCH_RECORDS, help="Records committed together.", unit=metrics.ONE
        )
        self._busy = registry.counter(WORKER_BUSY, help="Time that the worker's loop did not sleep.")
        self._clock = registry.gauge(WORKER_CLOCK, help="When this was published, on the clock since boot.")
        self._stages: dict[int, _Stage] = {}
        self._subtasks: dict[tuple[int, int], _Subtask] = {}
        self._ran: list[Ran] = []
        self._batch_began = 0.0
        self._busy_s: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._began_s = 0.0
        self._slept_s = 0.0
        self._start_s = time.monotonic()

    def watch(self, tasks: Mapping[int, Task]) -> None:
        """The stages that run here."""
        for number, task in tasks.items():
            self._stages[number] = _Stage(self._registry, task.stage.head.uid)
            for subtask, operators in task.subtasks():
                self._subtasks[number, subtask] = _Subtask(self._registry, operators)

    # --- while it runs ------------------------------------------------------------------------------------

    def batch(self, began: float, ran: list[Ran]) -> None:
        self._records.observe(len(ran))
        self._batch_began, self._ran = began, ran

    def committing(self, number: int, size: int) -> None:  # noqa: ARG002 - the seconds are what counts here
        self._began_s = time.monotonic()

    def syncing(self) -> None:
        """Part of the commit."""

    def committed(self) -> None:
        now = time.monotonic()
        self._commit.observe_seconds(now - self._began_s)
        ran, self._ran = self._ran, []
        if ran:
            self._take(ran, now)

    def _take(self, ran: list[Ran], now: float) -> None:
        """Neighbours of one stage and subtask, most of which came in one message, are taken together."""
        busy, stages = self._busy_s, self._stages
        began = first = self._batch_began
        stage, subtask, arrived, _ = ran[0]
        times, wait = 0, 0.0
        for its_stage, its_subtask, its_arrived, ended in ran:
            if its_arrived != arrived or its_subtask != subtask or its_stage != stage:
                busy[stage, subtask] += began - first
                stages[stage].take(wait, now - arrived, times)
                stage, subtask, arrived, first = its_stage, its_subtask, its_arrived, began
                times, wait = 0, 0.0
            times += 1
            wait += began - its_arrived
            began = ended
        busy[stage, subtask] += began - first
        stages[stage].take(wait, now - arrived, times)

    def slept(self, since_s: float) -> None:
        """The loop slept from then to now."""
        self._slept_s += time.monotonic() - since_s

    # --- when it is published -----------------------------------------------------------------------------

    def publish(self, now: float, waiting: Mapping[int, tuple[int, float]]) -> None:
        """Bring what is only looked at from time to time up to date."""
        busy, self._busy_s = self._busy_s, defaultdict(float)
        for place, subtask in self._subtasks.items():
            subtask.publish(busy.get(place, 0.0))
        for number, stage in self._stages.items():
            records, oldest_s = waiting.get(number, (0, now))
            stage.queue.value = records
            stage.oldest.value = max(0.0, now - oldest_s)
        self._busy.value = max(self._busy.value, now - self._start_s - self._slept_s)
        self._clock.value = now

    def publish_state(
        self, sizes: Sizes, states: Mapping[int, Mapping[int, str]], uids: Mapping[int, str]
    ) -> None:
        """What the table holds of each operator that declares ``states`` (their kinds by index).

        Keys are those of the state that has most of them. The entries of a map are no keys of the operator:
        with nothing but maps the keys are not known.
        """
        gauge = self._registry.gauge
        gauge(DEAD_LETTERS, help="Dead letters that are there.").value = sizes.dead_letters.items
        none = Size(0, 0)
        for operator, kinds in states.items():
            labels = {"operator": uids[operator]}
            found = {number: sizes.states.get((operator, number), none) for number in kinds}
            gauge(OPERATOR_STATE, labels, "Keys and values of an operator's state, as stored.").value = sum(
                size.bytes for size in found.values()
            )
            keys = [found[number].items for number, kind in kinds.items() if kind != MAP]
            if keys:
                gauge(OPERATOR_KEYS, labels, "Keys that an operator has state for.").value = max(keys)

"""The spans of a worker: one for each stage that runs a sampled record, one for the commit that holds it.

A stage's span is the time that the record ran, so it says how long the user's code took; the time before it,
in the queue, is an attribute. What the record puts out begins its spans under it at the next stage.

A commit holds records of many requests. Each trace among them gets a span of its own for it, all of the same
times, under its first record's stage and linked to its others: whoever reads a trace sees in it what its
request waited for, and nothing of other traces.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from mini_flink import ids, keys, wire
from mini_flink.core.base import Meter, Ran
from mini_flink.errors import RecordError
from mini_flink.plan import Plan
from mini_flink.tracing.base import Attributes, Span, Start, Tracing, Value, tell_failure
from mini_flink.tracing.context import decode


class WorkerTracer:
    """The machine's ``Tracer``, and its ``Meter`` in front of the one that measures."""

    def __init__(self, tracing: Tracing, meter: Meter, plan: Plan, folder_id: int) -> None:
        self._tracing = tracing
        self._meter = meter
        self._plan = plan
        self._folder_id = folder_id
        self._chains = {number: [node.uid for node in stage.nodes] for number, stage in plan.stages.items()}
        self._span: Span | None = None
        self._spans: list[Span] = []
        self._holding = 0  # the commit that they will be in
        self._ran = 0
        self._number = 0
        self._bytes = 0
        self._began_ns = 0
        self._synced_ns = 0

    def current_trace_id(self) -> str:
        """Of the record that runs; empty if it belongs to no trace."""
        return "" if self._span is None else decode(self._span.context).trace_text

    # --- records ------------------------------------------------------------------------------------------

    @contextmanager
    def record(self, context: bytes, record: wire.Record, waited_s: float, commit: int) -> Iterator[bytes]:
        chain = self._chains.get(record.stage, [])
        name = chain[0] if chain else f"stage {record.stage}"
        span = self._tracing.start(Start(name, "consumer", context, self._about(record, chain, waited_s)))
        if commit != self._holding:
            self._spans, self._holding = [], commit
        self._spans.append(span)
        self._span = span
        with self._tracing.current(span):
            yield span.context
        self._span = None
        span.end()

    def _about(self, record: wire.Record, chain: list[str], waited_s: float) -> Attributes:
        about: dict[str, Value] = {
            "mini_flink.operators": chain,
            "mini_flink.subtask": record.subtask,
            "mini_flink.queue_wait_ms": round(waited_s * 1e3, 3),
        }
        if record.key is not None:
            about["mini_flink.key_group"] = keys.key_group(record.key, self._plan.max_parallelism)
        if record.gateway >= 0:
            about["mini_flink.request_id"] = ids.request_id(
                self._folder_id, record.gateway, record.incarnation, record.request
            )
        return about

    def expired(self) -> None:
        if self._span is not None:
            self._span.event("dropped: its request's deadline has passed", {})

    def failed(self, error: RecordError, error_id: str) -> None:
        if self._span is not None:
            tell_failure(self._span, error.__cause__ or error, error_id)

    # --- commits ------------------------------------------------------------------------------------------

    def batch(self, began: float, ran: list[Ran]) -> None:
        self._ran = len(ran)
        self._meter.batch(began, ran)

    def committing(self, number: int, size: int) -> None:
        self._meter.committing(number, size)
        self._number, self._bytes = number, size
        self._began_ns = self._synced_ns = time.time_ns()

    def syncing(self) -> None:
        self._meter.syncing()
        self._synced_ns = time.time_ns()

    def committed(self) -> None:
        self._meter.committed()
        if self._spans and self._number == self._holding:
            spans, self._spans = self._spans, []
            self._tell_of_commit(spans)

    def _tell_of_commit(self, spans: list[Span]) -> None:
        about: dict[str, Value] = {
            "mini_flink.commit": self._number,
            "mini_flink.records": self._ran,
            "mini_flink.bytes": self._bytes,
        }
        if self._synced_ns != self._began_ns:
            about["mini_flink.sync_ms"] = (time.time_ns() - self._synced_ns) / 1e6
        traces: defaultdict[int, list[bytes]] = defaultdict(list)
        for span in spans:
            traces[decode(span.context).trace_id].append(span.context)
        for first, *others in traces.values():
            start = Start("commit", "internal", first, about, others, self._began_ns)
            self._tracing.start(start).end()

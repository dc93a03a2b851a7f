"""What the machines are given by whoever runs them, and who they are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from mini_flink import wire
from mini_flink.errors import RecordError
from mini_flink.records import Origin

Root = tuple[int, int, int]
"""How a record in progress is known to whoever looks, and after a crash: source, its session, number."""


class Task(Protocol):
    """One stage in this worker, as the operators build it."""

    def process(self, subtask: int, key: bytes | None, value: bytes, origin: Origin | None) -> None: ...


class Progress(Protocol):
    """Where the machine leaves word of what it is doing, for whoever looks from outside."""

    def begin(self, source: int, session: int, number: int, operator: int) -> None: ...
    def idle(self) -> None: ...


Ran = tuple[int, int, float, float]
"""A record that a batch ran: its stage and subtask, when it had come, when the machine was done with it."""


class Meter(Protocol):
    """Where the machine leaves what it measures; times are those of its clock."""

    def batch(self, began: float, ran: list[Ran]) -> None:
        """A batch is complete, and its commit comes next."""

    def committing(self, number: int, size: int) -> None:
        """A commit of ``size`` bytes begins to be written; without space it is tried again."""

    def syncing(self) -> None:
        """It is written, and begins to be synced, if it is to be."""

    def committed(self) -> None:
        """It is as durable as it will be."""


class NoMeter:
    """Nobody measures."""

    def batch(self, began: float, ran: list[Ran]) -> None:
        """Ignored."""

    def committing(self, number: int, size: int) -> None:
        """Ignored."""

    def syncing(self) -> None:
        """Ignored."""

    def committed(self) -> None:
        """Ignored."""


class Tracer(Protocol):
    """Where the machine tells of records that belong to a trace; it never looks into their contexts."""

    def record(
        self, context: bytes, record: wire.Record, waited_s: float, commit: int
    ) -> AbstractContextManager[bytes]:
        """A record runs within this, after it has waited; ``commit`` is to hold it.

        Gives the context of what the record puts out.
        """

    def expired(self) -> None:
        """The record that runs came too late, and is dropped."""

    def failed(self, error: RecordError, error_id: str) -> None:
        """The record that runs is a dead letter."""


class Burial(NamedTuple):
    """What remains of a record that failed; ``detail`` is told to its client, where that may know it."""

    error_id: str
    operator: str
    letter: bytes
    detail: Mapping[str, Any] | None = None


class Undertaker(Protocol):
    """Describes a record that failed: logs it, and gives its error id, operator and dead letter."""

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> Burial: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is, as every message and commit says it."""

    name: str
    incarnation: int
    generation: int = 1
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The machine's limits; see the options of the same names."""

    batch_records: int = 1024
    batch_bytes: int = 4 << 20
    batch_s: float = 0.01
    commit_limit_bytes: int = 16 << 20
    overlay_bytes: int = 32 << 20
    flush_interval_s: float = 1.0
    channel_window_bytes: int = 4 << 20


@dataclass(slots=True)
class Counters:
    """What happened, for status and metrics; only ever raised."""

    records_in: int = 0
    records_out: int = 0
    batches: int = 0
    commits: int = 0
    expired: int = 0
    dead_letters: int = 0
    dropped_outputs: int = 0
    fenced: int = 0


_SOURCE_KINDS = {"w": 1, "g": 1 << 16, "c": 1 << 20}
"""Workers, gateways, and sources without requests (by operator number)."""


def source_code(peer: str) -> int:
    """A peer's name as the number that stands for it on the progress page."""
    return _SOURCE_KINDS[peer[0]] + int(peer[1:])

"""The contracts of the two storage devices, each with a real and an in-memory twin.

A worker owns one of each: a ``CommitLog`` that takes one record per batch, and a ``Table`` that takes the
accumulated changes about once a second. Only runners choose which twin; tests/state runs one suite on both.

The order that makes every crash recoverable (whatever of it a power cut lets survive):

1. open the table, then the log; redo ``log.recover(table.commit_number)``;
2. ``table.sync()``, then ``log.rewrite(what was redone)``, then the first output, acknowledgement or append;
3. per batch ``append``, ``sync``, then outputs and acknowledgements;
4. per flush ``table.write(changes, number)`` with changes whose records are synced, then ``table.renew()``,
   then ``log.recycle(number)``.

Errors: ``StorageFullError`` means that nothing happened and the call may be repeated. After any other
``StorageError`` the process must end, because what the page cache holds may differ from the disk; the
device refuses further calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """What a log has done since it was opened; ``bytes_appended`` counts payloads."""

    appends: int = 0
    syncs: int = 0
    bytes_appended: int = 0


class CommitLog(Protocol):
    """Numbered records, appended one after another and read back after a crash.

    One thread calls everything but ``prepare``, which may run in a second one.
    """

    @property
    def next_number(self) -> int:
        """The number that the next ``append`` must carry."""
        ...

    @property
    def size_bytes(self) -> int:
        """Space that the log takes, the spare segment included."""
        ...

    @property
    def wants_preparation(self) -> bool:
        """Whether ``prepare`` has work to do; cheap enough to ask after every append."""
        ...

    def recover(self, after: int, *, salvage: bool = False) -> Iterator[tuple[int, bytes]]:
        """The records with a number greater than ``after`` (the table's commit number), in order.

        A damaged record ends the log only where a write may have been cut off: at its very end. A good
        record behind a damaged one or a missing number raises ``CorruptionError``; with ``salvage`` it ends
        the log there and the rest is dropped. What is read may exist in the page cache only, see
        ``rewrite``.
        """
        ...

    def rewrite(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Writes again, durably and into a fresh segment, what ``recover`` read, and opens the log for
        ``append``.

        Call it once, with all of the records, after ``Table.sync``: the older segments, which hold what the
        table has, are given up. A crash in the middle leaves either the old segments or the whole new one.
        """
        ...

    def append(self, number: int, payload: bytes) -> None:
        """Adds one record; ``number`` is ``next_number`` and the record before is synced (if the log is
        durable).
        """
        ...

    def sync(self) -> None:
        """Makes what was appended survive a power cut; does nothing in a log that is not durable."""
        ...

    def recycle(self, upto: int) -> None:
        """Says that the table holds all records up to ``upto``: their segments may be used again. No I/O."""
        ...

    def prepare(self) -> None:
        """Makes the next segment ready and removes what was recycled; meant for a background thread.

        ``append`` does the same on the spot if it was not called in time.
        """
        ...

    def statistics(self) -> LogStatistics:
        """Counters since the log was opened."""
        ...

    def close(self) -> None:
        """Releases the files. Syncs nothing."""
        ...


class TableView(Protocol):
    """What a table held at one moment, whatever is written after it; read by one thread, any one.

    While it is open the table cannot use the pages again that only the view still needs.
    """

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The items whose key starts with ``prefix``, by ascending key."""
        ...

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The items with ``start <= key < stop``, by ascending key; no ``stop`` means to the end."""
        ...

    def close(self) -> None:
        """Let the pages go; may be called more than once."""
        ...


class Table(Protocol):
    """An ordered map of bytes to bytes, replaced in transactions that each carry a commit number.

    Reads see one transaction's state until ``renew``; iterators end their validity there too. Keys are not
    empty. ``write`` may run in a second thread, everything else is called by one.
    """

    @property
    def commit_number(self) -> int:
        """The number that the last ``write`` carried; 0 in a new table."""
        ...

    @property
    def size_bytes(self) -> int:
        """Space that the table takes."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key`` in the current view."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The items whose key starts with ``prefix``, by ascending key."""
        ...

    def range(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The items with ``start <= key < stop``, by ascending key; no ``stop`` means to the end."""
        ...

    def renew(self) -> None:
        """Lets reads see the last ``write``, and the table use pages again that only they still needed."""
        ...

    def open_view(self) -> TableView:
        """A view of what the last ``write`` left; may be called by the thread that writes."""
        ...

    def write(self, items: Iterable[tuple[bytes, bytes | None]], commit_number: int) -> None:
        """Puts and (where the value is None) deletes all ``items`` in one synced transaction, or does
        nothing.

        Each key occurs once. It returns when the transaction is durable; other threads keep running
        meanwhile.
        """
        ...

    def sync(self) -> None:
        """Makes the last transaction durable, also one that a killed process left in the page cache."""
        ...

    def close(self) -> None:
        """Releases the table."""
        ...

"""What bytes travel between two processes: the messages, and the records inside them.

Every message is one msgpack array, stamped with generation, sender, the sender's incarnation and the
snapshot epoch. There are two shapes:

* ``Data``, between the processes that hold records: a frame of numbered records (it may be empty), and on
  the same message the position of the channel that goes the other way. Acknowledgement, hello and gap report
  are all this position.
* ``Control``, to and from the supervisor.

A record is packed once, by whoever emits it, and kept as these bytes in outbox, log and frame. The trace
context of a sampled one travels beside it, in the frame only: a log need not keep it. This module owns the
layout and nothing else: no numbers are judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

from mini_flink.errors import DecodeError
from mini_flink.records import Origin

DATA = 1
READY = 10
FAILED = 11
PEERS = 12
STOP = 13
STATUS = 14
STATUS_REPLY = 15
SNAPSHOT = 16
SNAPSHOT_PART = 17
SNAPSHOT_END = 18
TRACK = 19
TRACKING = 20
COPY = 21
COPIED = 22
BUILD = 23
BUILT = 24
HOLD = 25
HELD = 26
FINISH = 27
FINISHED = 28
GO = 29
PROBE = 30
PROBED = 31
ASK = 32
TOLD = 33
"""To and from the command line: a request that takes a while, and what there is to say of it."""
LOOK = 34
LOOKED = 35
"""To and from a worker: a question about what it holds, with a number, and its answer."""
DOOR = 36
DOOR_SET = 37
"""To and from a gateway: whether it lets requests in, with a number; it is so, and nothing is in flight."""
DRAIN = 38
DRAINED = 39
"""To and from a worker: say when nothing is left to do, with a number; its table holds everything."""

COPYING = 41
"""From the resharder: how many items it has copied, and of how many."""
BURIED = 40
"""From a worker: the last record that failed, without what was in it; not more often than it publishes."""

RESEND = 1
"""Flag of a data message: send again from the position on."""
STORAGE_FULL = 2
"""Flag of a data message: the sender has no space for a commit; hold back what is new."""

COMPLETION = 0
REPLY = 1
FAILURE = 2

NO_ORIGIN = Origin(-1, 0, 0, 0, 0)
FAILED_BEFORE_ROUTING = -1
"""In place of the subtask: the key selector raised in the gateway, the worker only buries the record."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_MAX_ITEMS = 1 << 22


Traces = Sequence[tuple[int, bytes]]
"""The trace contexts of a frame's sampled records, each with the record's place in the frame."""


class Data(NamedTuple):
    """A frame and a position. ``session`` is the incarnation of the gateway's end (0 between workers)."""

    kind: int
    generation: int
    sender: str
    incarnation: int
    epoch: int
    session: int
    first: int
    records: list[bytes]
    position: int
    flags: int
    endpoint: str
    traces: Traces = ()


class Control(NamedTuple):
    """A message from or to the supervisor; ``data`` is plain data."""

    kind: int
    generation: int
    sender: str
    incarnation: int
    epoch: int
    data: dict[str, Any]


class Record(NamedTuple):
    """A record on its way to a stage: where to, for which key, from which request, with which share."""

    stage: int
    subtask: int
    key: bytes | None
    value: bytes
    gateway: int
    incarnation: int
    request: int
    deadline_ms: int
    timestamp_ms: int
    share: int
    level: int

    @property
    def origin(self) -> Origin | None:
        """The request that the record comes from; None for one that no request caused."""
        return None if self.gateway < 0 else Origin(*self[4:9])


_packer = msgpack.Packer(autoreset=True, use_bin_type=True)
pack = _packer.pack
"""One packed msgpack value. Not for several threads: each process packs in its loop only."""


def unpack(data: bytes) -> Any:
    """The one msgpack value in ``data``; DecodeError for anything else."""
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            max_str_len=MAX_MESSAGE_BYTES,
            max_bin_len=MAX_MESSAGE_BYTES,
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise DecodeError(f"a message of {len(data)} bytes cannot be read: {error}") from error


def encode_control(kind: int, sender: str, incarnation: int, generation: int, data: dict[str, Any]) -> bytes:
    """A control message; ``data`` holds only None, bool, int, float, str, bytes, lists and dicts."""
    packed: bytes = pack((kind, generation, sender, incarnation, 0, data))
    return packed


def encode_data(
    generation: int,
    sender: str,
    incarnation: int,
    epoch: int,
    session: int,
    first: int,
    records: list[bytes],
    position: int,
    flags: int,
    endpoint: str,
    traces: Traces = (),
) -> bytes:
    """A data message; without traces it has no place for them."""
    fields = (
        DATA, generation, sender, incarnation, epoch, session, first, records, position, flags, endpoint,
    )  # fmt: skip
    packed: bytes = pack((*fields, traces) if traces else fields)
    return packed


def decode(message: bytes) -> Data | Control:
    """The message in ``message``; DecodeError if it is none of ours."""
    fields = unpack(message)
    try:
        return Data(*fields) if fields[0] == DATA else Control(*fields)
    except (TypeError, IndexError, KeyError) as error:
        raise DecodeError(f"a message of {len(message)} bytes is none of ours") from error


def stage_of(data: bytes) -> int:
    """The stage that a packed record is for, mostly without unpacking it: the first element of an array."""
    first = data[1]
    return first if first < 0x80 else decode_record(data).stage


def decode_record(data: bytes) -> Record:
    """The record in ``data``; DecodeError if it is none."""
    try:
        return Record(*unpack(data))
    except TypeError as error:
        raise DecodeError(f"a record of {len(data)} bytes is none of ours") from error

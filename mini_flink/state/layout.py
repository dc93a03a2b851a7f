"""Where things lie in a worker's table: one key space, told apart by the first byte.

* ``S`` key group, operator, state, key [, map key]: keyed state. The key group comes first, so that a key
  group is one range.
* ``O`` peer, number: an outbox record that is not acknowledged.
* ``D`` error id: a dead letter.
* ``M`` name: the channels' positions, the snapshot epoch, the registry of states, and what the collections
  were at the last start.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgpack

STATE = b"S"
OUTBOX = b"O"
DEAD_LETTER = b"D"
META = b"M"
CHANNELS = META + b"channels"
EPOCH = META + b"epoch"
REGISTRY = META + b"state:"
COLLECTION = META + b"collection:"

_STATE_PREFIX = struct.Struct(">cHHB")
_NUMBER = struct.Struct(">Q")
STATE_PREFIX_BYTES = _STATE_PREFIX.size
MAX_STATES = 256
"""States of one operator: their index takes one byte."""


class Stored(NamedTuple):
    """An entry of the registry: one state of one operator, as it was last declared. Packed as an array."""

    operator: int
    name: str
    number: int
    kind: str
    type_text: str
    parallelism: int

    def describe(self) -> str:
        """How a declaration differs from this one, in words."""
        type_text = f" of {self.type_text}" if self.type_text else ""
        return f"{self.kind} state{type_text} at parallelism {self.parallelism}"


def state_prefix(key_group: int, operator: int, state: int) -> bytes:
    """What the keys of one state in one key group start with; the encoded key follows."""
    return _STATE_PREFIX.pack(STATE, key_group, operator, state)


def split_state_prefix(prefix: bytes) -> tuple[int, int, int]:
    """The key group, operator and state that ``state_prefix`` joined."""
    _, key_group, operator, state = _STATE_PREFIX.unpack(prefix)
    return key_group, operator, state


def outbox_key(peer: bytes, number: int) -> bytes:
    """Where record ``number`` to ``peer`` lies."""
    return OUTBOX + peer + b":" + _NUMBER.pack(number)


def is_of_channels(key: bytes) -> bool:
    """Whether a key is written with every flush, not by a change of state: positions, epoch, outbox."""
    return key in (CHANNELS, EPOCH) or key.startswith(OUTBOX)


def registry_key(operator: int, name: str) -> bytes:
    """Where the registry's entry of a state lies."""
    return REGISTRY + operator.to_bytes(2, "big") + name.encode()


def collection_key(operator: int) -> bytes:
    """Where it is kept what a collection held at the last start."""
    return COLLECTION + operator.to_bytes(2, "big")


def after_prefix(prefix: bytes) -> bytes | None:
    """The first key behind all that start with ``prefix``; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def entry_prefix(key: bytes) -> bytes | None:
    """The part that a key shares with all that are scanned together: a map state's entries, the registry.

    Dead letters are found together too. None for any other key. Encoded keys delimit themselves: what
    follows the first is a map key.
    """
    if not key.startswith(STATE):
        return next((prefix for prefix in (REGISTRY, DEAD_LETTER) if key.startswith(prefix)), None)
    unpacker = msgpack.Unpacker()
    unpacker.feed(key[_STATE_PREFIX.size :])
    unpacker.skip()
    end = _STATE_PREFIX.size + unpacker.tell()
    return key[:end] if end < len(key) else None

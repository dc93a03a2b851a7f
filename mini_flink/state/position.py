"""Places in the order in which keyed state is paged through, and their text: a cursor.

The order is key group, state, key. It holds from generation to generation: a cursor outlives a rescale.
"""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

from mini_flink import wire
from mini_flink.errors import DecodeError, UsageError

_HEAD_BYTES = 300
_DIGEST_BYTES = 16


class Position(NamedTuple):
    """Behind a key of a state in a key group; with none, before the first one there.

    Of a long key only the head is kept, and a digest by which it is known again: a cursor fits in a URL.
    """

    group: int = 0
    state: str = ""
    key: bytes = b""
    digest: bytes = b""

    @classmethod
    def behind(cls, group: int, state: str, key: bytes) -> Position:
        """The position of what follows ``key``."""
        if len(key) <= _HEAD_BYTES:
            return cls(group, state, key)
        return cls(group, state, key[:_HEAD_BYTES], digest_of(key))

    def cursor(self) -> str:
        """The position as text."""
        return base64.urlsafe_b64encode(wire.pack(self)).decode().rstrip("=")

    @classmethod
    def read(cls, cursor: str | None) -> Position:
        """The position that ``cursor`` tells, None: the first one. UsageError if it tells none."""
        if cursor is None:
            return cls()
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            group, state, key, digest = wire.unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, DecodeError) as error:
            raise _no_cursor(cursor) from error
        kinds = [type(part) for part in (group, state, key, digest)]
        if kinds != [int, str, bytes, bytes] or not 0 <= group < 1 << 16:
            raise _no_cursor(cursor)
        return cls(group, state, key, digest)


def digest_of(key: bytes) -> bytes:
    """By which a long key is known again."""
    return hashlib.blake2b(key, digest_size=_DIGEST_BYTES).digest()


def _no_cursor(cursor: str) -> UsageError:
    return UsageError(
        f"{cursor[:40]!r} is no cursor of a scan", help="give what the page before said, or leave it away"
    )

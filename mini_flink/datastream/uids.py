"""The uids of what the user gave none: readable, equal in all processes, and another one in another place.

State is found by uid. An operator's generated one is made of what the operator is and of what it reads, all
the way up to the sources. So whoever stands behind an inserted or renamed operator gets a new uid, and the
start is refused by name instead of one operator taking over another's state. For the same reason operators
that may keep state and that only their order tells apart get new uids when there is one more of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from mini_flink.graph import COLLECTION, Options, RequestOptions

_HASH_DIGITS = 6


def source_uid(options: Options | None) -> str:
    """``POST /total``, ``collection``."""
    if isinstance(options, RequestOptions):
        return f"{' '.join(sorted(options.methods))} {options.path}"
    return COLLECTION


def operator_uid(kind: str, name: str, inputs: Iterable[tuple[str, bool]], like_it: int = 1) -> str:
    """``reduce-3fa2c1``: the hash is of kind, name, the inputs (uid, whether it is keyed) and ``like_it``.

    ``like_it`` is how many operators could be taken for this one, itself among them.

    >>> operator_uid("map", "parse", [("POST /a", False)])
    'map-b488ac'
    """
    place = json.dumps([kind, name, [list(one) for one in inputs], like_it])
    return f"{kind}-{hashlib.sha256(place.encode()).hexdigest()[:_HASH_DIGITS]}"


def numbered(uid: str, number: int, *, always: bool) -> str:
    """Equal ones are told apart by their order; a sink, which keeps nothing, has its number for a name."""
    return f"{uid}-{number}" if always or number > 1 else uid

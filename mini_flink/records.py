"""What travels: the header that follows a record from its request to its reply.

Frozen data, shared by the wire, the machines in core/, the operators and the gateway.
"""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """The hidden header: which request a record comes from and where its reply goes.

    ``gateway`` is the slot, ``incarnation`` that of the gateway's process, ``request`` its number there;
    ``deadline_ms`` and ``timestamp_ms`` (arrival) are Unix time in milliseconds.
    """

    gateway: int
    incarnation: int
    request: int
    deadline_ms: int
    timestamp_ms: int

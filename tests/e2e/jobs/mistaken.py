"""The orders job, in workers that make a mistake: ``mistaken.py MISTAKE``, or ``none``.

Each mistake is one that loses or doubles records only if a process dies at the wrong moment.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable

from mini_flink.core.channel import Inbound, Outbound
from mini_flink.core.effects import Append, Effect, Send
from mini_flink.faults import crash_point


def send_before_commit() -> None:
    """Messages leave, then a slow disk is written to.

    A crash there is the odd passages of the point: the even ones are where it always was, behind the sync.
    """
    from mini_flink.worker.host import Host

    in_order = Host.carry_out

    def sends_first(host: Host, effects: Iterable[Effect]) -> None:
        given = list(effects)
        in_order(host, [effect for effect in given if isinstance(effect, Send)])
        if any(isinstance(effect, Append) for effect in given):
            time.sleep(0.002)
            crash_point("before_send")
        in_order(host, [effect for effect in given if not isinstance(effect, Send)])

    Host.carry_out = sends_first  # type: ignore[assignment, method-assign]


def acknowledge_on_receipt() -> None:
    """What has arrived is told to be committed."""
    accept = Inbound.accept

    def accept_and_commit(channel: Inbound, first: int, records: list[bytes]) -> tuple[int, list[bytes]]:
        accepted = accept(channel, first, records)
        channel.committed = channel.received
        return accepted

    Inbound.accept = accept_and_commit  # type: ignore[assignment, method-assign]


def no_dedupe() -> None:
    """Records that were sent again are taken again."""
    accept = Inbound.accept

    def accept_all(channel: Inbound, first: int, records: list[bytes]) -> tuple[int, list[bytes]]:
        if not records or first > channel.received + 1:
            return accept(channel, first, records)
        channel.received = max(channel.received, first + len(records) - 1)
        return first, records

    Inbound.accept = accept_all  # type: ignore[assignment, method-assign]


def trim_on_send() -> None:
    """What was given to the transport is forgotten."""
    take_frame = Outbound.frame

    def take_and_forget(channel: Outbound, now: float) -> tuple[int, list[bytes]] | None:
        frame = take_frame(channel, now)
        channel.acknowledge(channel.sent, now)
        return frame

    Outbound.frame = take_and_forget  # type: ignore[assignment, method-assign]


MISTAKES: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "send before commit": send_before_commit,
    "acknowledge on receipt": acknowledge_on_receipt,
    "no dedupe": no_dedupe,
    "trim on send": trim_on_send,
}

if "mini_flink.worker.process" in sys.modules:
    MISTAKES[sys.argv[1]]()
importlib.import_module("orders")

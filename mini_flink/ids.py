"""Identifiers that are made the same way everywhere: process names and request ids."""

from __future__ import annotations

SUPERVISOR = "supervisor"


def worker_name(index: int) -> str:
    """The name of worker ``index`` in channels and messages: ``w0``, ``w1``, …"""
    return f"w{index}"


def gateway_name(slot: int) -> str:
    """The name of the gateway in ``slot``: ``g0``, ``g1``, …"""
    return f"g{slot}"


def request_id(folder_id: int, gateway: int, incarnation: int, request: int) -> str:
    """An id that no other request of this data folder has, in any incarnation of any process.

    >>> request_id(0xC0FFEE, 1, 2, 3)
    '00c0ffee-0100000200000003'
    """
    return f"{folder_id:08x}-{gateway:02x}{incarnation:06x}{request:08x}"

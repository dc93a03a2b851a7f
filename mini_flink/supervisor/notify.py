"""Word to systemd (``Type=notify``): ready, stopping, status. Silent where nobody listens."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> None:
    """Send ``lines`` such as ``READY=1`` to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return

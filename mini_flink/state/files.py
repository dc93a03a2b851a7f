"""What the devices on files share: making names durable, and telling a full disk from a broken one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL_HELP = "free some space; it goes on by itself"


def sync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` survive a power cut: what was created, renamed or removed in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def says_full(code: int | None) -> bool:
    """Whether an error number says that space (or the quota) is used up."""
    return code in (errno.ENOSPC, errno.EDQUOT)

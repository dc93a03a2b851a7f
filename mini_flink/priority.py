"""The niceness of this process."""

from __future__ import annotations

import contextlib
import os


def be_nicer(by: int) -> None:
    """Give way to others, or with a negative ``by`` no longer.

    It stays as it is where that is forbidden: to anyone but root downwards, in a sandbox at all.
    """
    with contextlib.suppress(PermissionError):
        os.nice(by)

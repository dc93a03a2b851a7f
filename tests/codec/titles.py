"""How a value is called in the name of a test: the same in every process."""

from __future__ import annotations

import re


def title(value: object, length: int) -> str:
    """The beginning of its repr, without addresses, and without the order that a set has by chance."""
    if isinstance(value, set | frozenset) and len(value) > 1:
        return f"{type(value).__name__} of {len(value)}"
    return re.sub(r"0x[0-9a-f]+", "0x", repr(value))[:length]

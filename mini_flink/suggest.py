"""The nearest known name for one that is not known: for options, commands, files and keys alike.

Ground floor: imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most like ``name``, or None where none is close; the higher ``cutoff``, the closer.

    >>> nearest("prot", ["host", "port"])
    'port'
    """
    import difflib  # only errors need it

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The help line of an error about an unknown name."""
    match = nearest(name, known)
    return f"did you mean {match}?" if match else otherwise

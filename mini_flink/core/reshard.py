"""Where each stored state goes: what a re-shard is told by ``core.compatibility``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetState:
    """One state as the job declares it now; ``migrate`` changes a stored value to its type."""

    uid: str
    name: str
    kind: str
    type_text: str
    operator: int
    index: int
    parallelism: int
    migrate: Callable[[bytes], bytes] | None = None


StateMap = Mapping[tuple[str, str], TargetState | None]
"""By operator uid and state name; None: dropped on purpose."""

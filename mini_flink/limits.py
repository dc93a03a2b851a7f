"""From where on something is worth a word of the page: one list, printed with the plan.

The supervisor reads what the operator wants otherwise, so that a mistake is told at the start; the admin
process judges by it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace

from mini_flink.errors import ConfigError

ENTER_TICKS = 5
LEAVE_TICKS = 15


@dataclass(frozen=True, slots=True)
class Limits:
    """Shares of 1, milliseconds and numbers, as the names say; ``warn`` is amber, ``bad`` is red."""

    busy_warn: float = 0.8
    busy_bad: float = 0.95
    late_warn: float = 0.25
    """How long the oldest record has waited, as a share of the time after which clients hear 504."""
    late_bad: float = 0.75
    failing_bad: float = 0.01
    """Failed records of one minute, as a share of those that came."""
    skew_warn: float = 2.0
    skewed_busy: float = 0.5
    commit_share_warn: float = 0.5
    commit_ms_warn: float = 5.0
    restarts_warn: float = 1
    """In ten minutes."""
    restarts_bad: float = 3
    silent_ms_warn: float = 2_000
    silent_ms_bad: float = 5_000
    snapshot_age_warn: float = 2.0
    """In intervals."""
    snapshot_age_bad: float = 5.0
    snapshot_failures_bad: float = 2
    disk_warn: float = 0.8
    disk_bad: float = 0.9
    dead_letters_bad: float = 10
    """In one minute."""

    @classmethod
    def read(cls, text: str | None) -> Limits:
        """The usual ones, but for those in ``text``: ``busy_warn=0.9, disk_bad=0.95``.

        >>> Limits.read("busy_warn=0.9, restarts_bad=5").restarts_bad
        5.0
        """
        known = {field.name for field in fields(cls)}
        changed: dict[str, float] = {}
        for part in filter(None, (each.strip() for each in (text or "").split(","))):
            name, _, value = (each.strip() for each in part.partition("="))
            if name not in known:
                raise ConfigError(
                    f"admin_limits: there is no limit {name!r}", help=f"limits are {', '.join(sorted(known))}"
                )
            changed[name] = _number(part, value)
        return replace(cls(), **changed)

    def public(self) -> dict[str, float]:
        """As it stands in the plan."""
        return {**asdict(self), "enter_ticks": ENTER_TICKS, "leave_ticks": LEAVE_TICKS}


def _number(part: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ConfigError(f"admin_limits: {part!r} gives no number", help="write it as in: busy_warn=0.9")
    return number


DEFAULT = Limits()

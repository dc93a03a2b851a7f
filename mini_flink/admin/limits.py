"""From where on something is worth a word: one list, printed with the plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass

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
    restarts_warn: int = 1
    """In ten minutes."""
    restarts_bad: int = 3
    silent_ms_warn: int = 2_000
    silent_ms_bad: int = 5_000
    snapshot_age_warn: float = 2.0
    """In intervals."""
    snapshot_age_bad: float = 5.0
    snapshot_failures_bad: int = 2
    disk_warn: float = 0.8
    disk_bad: float = 0.9
    dead_letters_bad: int = 10
    """In one minute."""

    def public(self) -> dict[str, float]:
        """As it stands in the plan."""
        return {**asdict(self), "enter_ticks": ENTER_TICKS, "leave_ticks": LEAVE_TICKS}


DEFAULT = Limits()

"""When snapshots are taken and how many are kept, from the settings.

Called by the supervisor, which takes them, and by the commands that look for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from mini_flink.config import Settings
from mini_flink.snapshots.location import default_location

PROCESS_INTERVAL_S = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """``interval_s`` 0 means on demand only; ``base_every`` says how many deltas may follow a base."""

    location: str
    interval_s: int
    kept: int
    max_age_s: int
    base_every: int

    @classmethod
    def of(cls, settings: Settings, data_dir: str) -> Policy:
        """The policy for the job in ``data_dir``.

        In ``process`` durability snapshots are what a power cut goes back to, so there they are the default.
        """
        interval_s = settings.snapshot_interval_s
        if interval_s is None:
            interval_s = PROCESS_INTERVAL_S if settings.durability == "process" else 0
        return cls(
            location=default_location(settings.snapshot_dir, data_dir),
            interval_s=interval_s,
            kept=settings.snapshots_kept,
            max_age_s=settings.snapshot_max_age_s,
            base_every=settings.snapshot_base_every,
        )

"""When snapshots are taken and where they go, by the settings."""

from __future__ import annotations

import pytest

from mini_flink.config import Settings
from mini_flink.snapshots.policy import Policy


@pytest.mark.parametrize(
    ("durability", "given", "expected"),
    [("process", None, 60), ("disk", None, 0), ("process", 0, 0), ("process", 5, 5), ("disk", 3600, 3600)],
)
def test_the_interval(durability: str, given: int | None, expected: int) -> None:
    settings = Settings(durability=durability, snapshot_interval_s=given)
    assert Policy.of(settings, "/data").interval_s == expected


def test_the_rest() -> None:
    assert Policy.of(Settings(), "/data") == Policy("/data/snapshots", 0, 3, 0, 10)
    settings = Settings(
        snapshot_dir="s3://b/p", snapshots_kept=7, snapshot_max_age_s=60, snapshot_base_every=2
    )
    assert Policy.of(settings, "/data") == Policy("s3://b/p", 0, 7, 60, 2)

"""From what a person writes to a store: a folder, or a URL.

Called by the supervisor, by workers, and by the commands that look into snapshots.
"""

from __future__ import annotations

import os

from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.remote import RemoteStore, without_secrets

FOLDER_NAME = "snapshots"
"""Where snapshots are in a data folder."""


def is_url(location: str) -> bool:
    """Whether this is a place that fsspec knows, and no folder of ours."""
    return "://" in location


def open_store(location: str, *, directory: str = ".") -> SnapshotStore:
    """The store at ``location``; a relative folder is one of ``directory``. Nothing is made or asked yet."""
    folder = location.removeprefix("file://")  # fsspec would not sync it
    return RemoteStore(location) if is_url(folder) else FileStore(os.path.join(directory, folder))


def shown(location: str) -> str:
    """``location`` as people, logs and reports may see it, like the ``location`` of its store."""
    return without_secrets(location) if is_url(location) else location


def default_location(snapshot_dir: str | None, data_dir: str) -> str:
    """Where the snapshots of a data folder are, if ``snapshot_dir`` does not say otherwise."""
    return snapshot_dir or os.path.join(data_dir, FOLDER_NAME)

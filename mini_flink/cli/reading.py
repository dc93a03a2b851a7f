"""What the commands that only read a data folder have in common."""

from __future__ import annotations

import os

from mini_flink.config import Settings
from mini_flink.errors import UsageError

DEFAULT_PARENT = ".mini_flink"


def data_dir_of(settings: Settings, command: str) -> str:
    """The folder that was named, or the only one below ``.mini_flink`` here."""
    if settings.data_dir is not None:
        return settings.data_dir
    folders: list[str] = []
    if os.path.isdir(DEFAULT_PARENT):
        folders = sorted(entry.path for entry in os.scandir(DEFAULT_PARENT) if entry.is_dir())
    if len(folders) == 1:
        return folders[0]
    example = folders[0] if folders else f"{DEFAULT_PARENT}/<job>"
    raise UsageError(
        f"{command} needs --data-dir", help=f"python -m mini_flink {command} --data-dir {example}"
    )

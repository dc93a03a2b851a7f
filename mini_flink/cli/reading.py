"""What the commands that only read a data folder have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mini_flink.config import Settings
from mini_flink.errors import UsageError

DEFAULT_PARENT = ".mini_flink"


def data_dir_of(settings: Settings, command: str) -> str:
    """The folder that was named; or below ``.mini_flink`` here the only one, or the one that is served."""
    if settings.data_dir is not None:
        return settings.data_dir
    folders: list[str] = []
    if os.path.isdir(DEFAULT_PARENT):
        folders = sorted(entry.path for entry in os.scandir(DEFAULT_PARENT) if entry.is_dir())
    if len(folders) == 1:
        return folders[0]
    served = _served(folders) if folders else []
    if len(served) == 1:
        return served[0]
    example = (served or folders or [f"{DEFAULT_PARENT}/<job>"])[0]
    error = UsageError(
        f"{command} needs --data-dir", help=f"python -m mini_flink {command} --data-dir {example}"
    )
    error.details = tuple(f"{folder}, served now" if folder in served else folder for folder in folders)
    raise error


def _served(folders: Iterable[str]) -> list[str]:
    from mini_flink.asking import is_running  # only where there is a choice

    return [folder for folder in folders if is_running(folder)]

"""The files for Prometheus and Grafana, by name: their text, and how they get into a folder.

Called by the command line. Never replaces a file that says something else, unless it is told to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mini_flink.errors import ChangedFilesError, UsageError, storage_error
from mini_flink.monitoring import dashboard

RUNBOOK = Path(__file__).parents[1] / "docs" / "operating.md"
"""What each alert means, as it is installed here."""
ALERTS, DASHBOARD, PROMETHEUS = "alerts.yml", "dashboard.json", "prometheus.yml"
DEFAULT_TARGET = "127.0.0.1:7072"
_TARGET = re.compile(r"[\w.\-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


def alerts() -> str:
    """The alert rules for Prometheus; they name the runbook that is installed here."""
    return _text(ALERTS).replace('"mini_flink/docs/operating.md#', f'"{RUNBOOK}#')


def prometheus(target: str = DEFAULT_TARGET) -> str:
    """What has Prometheus scrape ``target`` and load the rules that lie beside it."""
    if not _TARGET.fullmatch(target):
        raise UsageError(f"{target!r} is no address", help=f"HOST:PORT, as in --target {DEFAULT_TARGET}")
    return _text(PROMETHEUS).replace(f'"{DEFAULT_TARGET}"', f'"{target}"')


def write(folder: str, target: str, *, force: bool) -> list[str]:
    """Put all of them into ``folder``; the paths of those that were written."""
    files = {ALERTS: alerts(), DASHBOARD: dashboard.text(), PROMETHEUS: prometheus(target)}
    try:
        return _write(Path(folder), files, force)
    except OSError as error:
        raise storage_error(error.filename or folder, error) from error


def _write(folder: Path, files: Mapping[str, str], force: bool) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / name: text for name, text in files.items()}
    new = {path: text for path, text in paths.items() if not path.exists() or path.read_text() != text}
    changed = [str(path) for path in new if path.exists()]
    if changed and not force:
        raise ChangedFilesError(changed)
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return [str(path) for path in new]


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")

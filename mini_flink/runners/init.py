"""``init``: a folder with a job that serves, its test, and what belongs to them.

Owns the list of files; their text is in ``templates/``, with ``{{name}}`` and ``{{version}}`` to fill in.
Called by the command line.
"""

from __future__ import annotations

import importlib.resources
import os
import re
from pathlib import Path

from mini_flink import __version__
from mini_flink.errors import UsageError, storage_error

FILES = {
    "job.py": "the job: a total per key, over POST /total",
    "test_job.py": "its test, also with every worker killed",
    "mini_flink.toml": "settings, with comments",
    "README.md": "what to type",
    "requirements.txt": "what it needs",
    ".gitignore": "state and caches",
}
"""The files in the order in which they are told of, and what each is."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_CONTENT = {".git"}
"""What a fresh clone of an empty repository holds."""


def create(path: str) -> str:
    """Make the project in ``path``, a folder that is empty or not there yet; its name.

    UsageError if the folder holds something, or has no name for a job. No file is ever replaced.
    """
    folder = Path(path)
    name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a job", help="use letters, digits, dots, - and _, as in: init shop"
        )
    try:
        _make(folder, name)
    except OSError as error:
        raise storage_error(error.filename or path, error) from error
    return name


def _make(folder: Path, name: str) -> None:
    if folder.is_dir():
        _refuse_content(folder)
    elif os.path.lexists(folder):
        raise UsageError(f"{folder} is there, and is no folder", help="name another one, as in: init shop")
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        with (folder / file).open("x", encoding="utf-8") as created:
            created.write(_text(file, name))


def _refuse_content(folder: Path) -> None:
    there = sorted(entry.name for entry in folder.iterdir() if entry.name not in _NO_CONTENT)
    if there:
        shown = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
        raise UsageError(
            f"the folder {folder} is not empty: it holds {shown}",
            help="name one that is empty, or not there yet",
        )


def _text(file: str, name: str) -> str:
    template = importlib.resources.files("mini_flink") / "templates" / f"{file.removeprefix('.')}.txt"
    text = template.read_text(encoding="utf-8")
    return text.replace("{{name}}", name).replace("{{version}}", __version__)

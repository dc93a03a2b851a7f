"""ARCHITECTURE.md speaks of places that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from mini_flink import config, folder, progress, spec
from mini_flink.core import engine
from mini_flink.snapshots import item_file, manifest
from mini_flink.state import lmdb, segment
from mini_flink.worker import undertaker
from tests.docs.guide import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text().replace("`folder/file.py: name`", "")
PLACES = sorted(set(re.findall(r"`([\w/]+\.py):\s(\w+(?:\.\w+)?)`", TEXT)))
PATHS = sorted(set(re.findall(r"`((?:[\w.]+/)*(?:\w+\.py|\w+/))`", TEXT)))


@cache
def names_in(path: Path) -> set[str]:
    """``Class``, ``Class.method`` and ``function`` as defined in a file; also assigned names."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            names |= {node.name, *(f"{node.name}.{method.name}" for method in methods)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize(("path", "name"), PLACES)
def test_a_place_exists(path: str, name: str) -> None:
    assert name in names_in(ROOT / "mini_flink" / path)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / "mini_flink" / path).exists() or (ROOT / path).exists()


def test_there_are_such_places() -> None:
    assert len(PLACES) > 40
    assert len(PATHS) > 10


def test_links_lead_to_headings() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings


def test_settings_that_it_names_exist() -> None:
    named = set(re.findall(r"`(\w+_(?:ms|bytes|records|capacity))`", TEXT))
    assert named
    assert named <= config.BY_NAME.keys()


def test_the_format_versions_are_those_of_the_code() -> None:
    versions = {
        engine.COMMIT_FORMAT,
        item_file.FORMAT_VERSION,
        manifest.FORMAT_VERSION,
        progress.FORMAT_VERSION,
        segment.FORMAT_VERSION,
        spec.ProcessSpec.__dataclass_fields__["format"].default,
        undertaker.LETTER_FORMAT,
    }
    seconds = {folder.FORMAT_VERSION, lmdb.FORMAT_VERSION}
    assert (versions, seconds) == ({1}, {2}), "say the new version in ARCHITECTURE.md"

"""The pages of reference say what the code says."""

from __future__ import annotations

import re

from mini_flink import cli, errors
from mini_flink.cli.exit_codes import EXIT_CODES
from mini_flink.cli.overview import COMMANDS, overview
from mini_flink.cli.reference import configuration, exit_codes
from mini_flink.supervisor import loop
from tests.docs.guide import ROOT

PAGES = ROOT / "mini_flink" / "docs"

SOURCES = [
    path.read_text() for path in (ROOT / "mini_flink").rglob("*.py") if path.name not in ("errors.py",)
]


def test_the_page_of_settings_is_that_of_the_list() -> None:
    command = "python -m mini_flink config --markdown > mini_flink/docs/configuration.md"
    assert (PAGES / "configuration.md").read_text() == configuration(), f"make it anew: {command}"


def test_the_table_of_exit_codes_is_in_the_page_and_in_the_help() -> None:
    text = (PAGES / "command-line.md").read_text()
    assert exit_codes() in text, f"the table is now:\n{exit_codes()}"
    for code in re.findall(r"\b(\d+) [a-zA-Z]", overview().partition("Exit codes: ")[2]):
        assert int(code) in {known for known, _, _ in EXIT_CODES}


def test_every_exit_code_that_is_used_is_in_the_table() -> None:
    used = set(re.findall(r"\bEXIT_[A-Z_]+\b", "\n".join(SOURCES))) - {"EXIT_CODES"}
    places = (errors, cli, loop)
    codes = {name: getattr(place, name) for place in places for name in used if hasattr(place, name)}
    assert used == set(codes), "an exit code that is defined elsewhere"
    assert set(codes.values()) | {0} == {code for code, _, _ in EXIT_CODES}


def test_commands_in_the_page_exist() -> None:
    named = set(
        re.findall(r"(?:-m mini_flink|mini-flink) ([a-z-]+)", (PAGES / "command-line.md").read_text())
    )
    assert named
    assert named <= {name for name, _, _ in COMMANDS}

"""The pages of reference say what the code says."""

from __future__ import annotations

from mini_flink.cli.reference import configuration
from tests.docs.guide import ROOT

PAGES = ROOT / "mini_flink" / "docs"


def test_the_page_of_settings_is_that_of_the_list() -> None:
    command = "python -m mini_flink config --markdown > mini_flink/docs/configuration.md"
    assert (PAGES / "configuration.md").read_text() == configuration(), f"make it anew: {command}"

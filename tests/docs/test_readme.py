"""Everything in README.md is run: the commands as they stand there, what they print compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mini_flink.config import BY_NAME, OPTIONS
from tests.docs.follow import SERVED, follow, needs
from tests.docs.guide import PAGES, README, ROOT, blocks, inline_commands
from tests.docs.terminal import SHELL, Terminal, clone

TEXT = README.read_text()
OTHER_FLAGS = {"--help", "--json", "--restore"}
LOCAL = r" in this one process\.$"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    assert SHELL is not None
    terminal = clone(tmp_path)
    yield terminal
    terminal.close()


@needs()
@pytest.mark.timeout(600)
def test_a_reader_sees_what_is_written(terminal: Terminal) -> None:
    for block in blocks(TEXT):
        follow(terminal, block)
    for page in PAGES:
        for block in blocks(page.read_text()):
            follow(terminal, block)
    for command in inline_commands(TEXT):
        if " serve " in command and "--help" not in command:
            terminal.serve(command, SERVED)
        elif " -m " not in command:
            terminal.serve(command, LOCAL)
        else:
            assert terminal.run(command), f"{command} prints nothing"
    terminal.stop()


def test_it_can_be_read_in_one_go() -> None:
    lines = TEXT.splitlines()
    assert len(lines) <= 150
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("$ ")) <= 12


def test_every_option_in_it_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT))
    assert named <= {option.flag for option in OPTIONS} | OTHER_FLAGS
    assert BY_NAME["port"].default == 7071


def test_every_link_in_it_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT) + re.findall(r"`((?:mini_flink|systemd)/[^`]*)`", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_test_command_is_that_of_the_continuous_integration() -> None:
    (command,) = [
        command for block in blocks(TEXT) for command, _ in block.commands() if command.endswith("-m pytest")
    ]
    script = (ROOT / ".ci" / "run").read_text()
    for step in command.split(" && "):
        assert step in script

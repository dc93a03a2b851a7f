"""Everything in README.md is run: the commands as they stand there, what they print compared."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mini_flink.config import BY_NAME, OPTIONS
from tests.docs.guide import README, ROOT, Block, blocks, inline_commands, pattern
from tests.docs.terminal import SHELL, Terminal

TEXT = README.read_text()
PAGES = sorted((ROOT / "mini_flink" / "docs").glob("*.md"))
"""They go on where the README ends."""
OTHER_FLAGS = {"--help", "--json", "--restore"}
QUICK_TEST = "tests/api/test_common.py"
SERVED = r"^  Ready   http"
LOCAL = r" in this one process\.$"

needs_tools = pytest.mark.skipif(
    sys.platform != "linux" or not all(map(shutil.which, ("bash", "curl", "sed"))),
    reason="needs Linux, bash, curl and sed",
)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    assert SHELL is not None
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@needs_tools
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


def follow(terminal: Terminal, block: Block) -> None:
    """Do what a block shows."""
    if block.language == "python":
        assert block.file, f"a file without a name: {block.text}"
        terminal.write(block.file, block.text)
    elif block.language == "log":
        terminal.until(pattern(terminal.here(block.text)).pattern)
    else:
        assert block.language == "console"
        for command, printed in block.commands():
            enter(terminal, command, terminal.here(printed))


def enter(terminal: Terminal, command: str, printed: str) -> None:
    """Type a command, and compare."""
    if "mini_flink serve" in command:
        terminal.serve(command, SERVED)
        terminal.until("Ctrl-C$")
        assert pattern(printed).search(terminal.log), f"{command}:\n{terminal.log}"
        return
    # All tests, of which this is one, would not come to an end.
    variables = {"PYTEST_ADDOPTS": QUICK_TEST} if command.endswith("-m pytest") else {}
    found = terminal.run(command, **variables)
    if printed:
        assert pattern(printed).fullmatch(found), f"{command}:\n{found}\ninstead of\n{printed}"


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

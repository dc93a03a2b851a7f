"""A reader who does what a page shows, block by block, and compares what comes of it."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.docs.guide import Block, pattern
from tests.docs.terminal import Terminal

QUICK_TEST = "tests/api/test_common.py"
SERVED = r"^  Ready   http"


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip a test where blocks cannot be run."""
    return pytest.mark.skipif(
        sys.platform != "linux" or not all(map(shutil.which, ("bash", "curl", "sed", *tools))),
        reason=f"needs Linux, {', '.join(('bash', 'curl', 'sed', *tools))}",
    )


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
    is_whole = command.endswith("-m pytest") and (terminal.folder / QUICK_TEST).exists()
    variables = {"PYTEST_ADDOPTS": QUICK_TEST} if is_whole else {}
    found = terminal.run(command, **variables)
    if printed:
        assert pattern(printed).fullmatch(found), f"{command}:\n{found}\ninstead of\n{printed}"

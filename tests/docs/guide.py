"""README.md as a session at a terminal: its blocks, and what a reader would see of them.

A ``console`` block holds commands (``$ …``), each followed by what it prints; ``…`` stands for anything on a
line, and alone on a line for any lines. A ``python`` block is a file, whose name stands in the text before.
A ``log`` block is what the running server has said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "mini_flink" / "docs"
GUIDES = [DOCS / f"{name}.md" for name in ("tutorial", "operating", "promises")]
"""Pages that lead through. In this order: one goes on where the other ends."""
PAGES = sorted(set(DOCS.glob("*.md")) - set(GUIDES))
"""All others, which go on where the README ends."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"`(\w+\.py)`")
_INLINE = re.compile(r"`(python [^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block, its language, and the paragraph before it."""

    language: str
    text: str
    before: str

    @property
    def file(self) -> str:
        """The name of the file that the block is; empty if it is none."""
        name = _FILE.match(self.before)
        return name[1] if name else ""

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command and what it is said to print."""
        for part in self.text.split("$ ")[1:] if self.text.startswith("$ ") else ():
            command, _, printed = part.partition("\n")
            yield command, printed


def blocks(text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        paragraphs = [one for one in text[: found.start()].strip().split("\n\n") if one]
        yield Block(found[1], found[2], paragraphs[-1] if paragraphs else "")


def inline_commands(text: str) -> list[str]:
    """The commands that stand in the text itself."""
    return _INLINE.findall(_BLOCK.sub("", text))


def pattern(printed: str) -> re.Pattern[str]:
    """What ``printed`` allows, line by line."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r" *\n"
        for line in printed.rstrip("\n").split("\n")
    ]
    return re.compile("".join(lines) if printed else "")

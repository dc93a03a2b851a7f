"""The pages that lead through: every block is run, every name in their tables is one of the code."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mini_flink.admin import verdict
from mini_flink.events import EVENTS
from mini_flink.supervisor.loop import DIED
from tests.architecture.test_events import names_of, spoken
from tests.docs.follow import follow, needs
from tests.docs.guide import DOCS, GUIDES, README, ROOT, blocks, inline_commands
from tests.docs.terminal import Terminal, workplace
from tests.docs.test_architecture import names_in
from tests.monitoring.test_files import rules

_, OPERATING, PROMISES = GUIDES
LOOKS = ("status", "top", "snapshot list", "dead-letters list", "monitoring")
"""Commands that may be run anywhere in a text: they change nothing."""
NOTICES = {"record.failed", "record.failed_again"}
SAID_OF_EACH = ("Says", "Matters", "Look first", "Do", "Goes away")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = workplace(tmp_path)
    yield terminal
    terminal.close()


@needs("promtool")
@pytest.mark.timeout(600)
def test_a_reader_sees_what_is_written(terminal: Terminal) -> None:
    for guide in GUIDES:
        for block in blocks(guide.read_text()):
            follow(terminal, block)
    named = {command for guide in GUIDES for command in inline_commands(guide.read_text())}
    for command in sorted(named):
        words = shlex.split(command)
        if " ".join(words[3:]).startswith(LOOKS):
            assert terminal.run(command), command
    terminal.stop()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: str(page.stem))
def test_no_block_is_left_out(page: Path) -> None:
    text = page.read_text()
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(list(blocks(text)))


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: str(page.stem))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_readme() -> None:
    found, ways = {README}, [README]
    while ways:
        page = ways.pop()
        for link in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", page.read_text()):
            target = (page.parent / link).resolve()
            if target.exists() and target not in found:
                found.add(target)
                ways.append(target)
    assert set(DOCS.glob("*.md")) <= found


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def first_cells(page: Path, heading: str) -> set[str]:
    """What stands as code in the first column of a table."""
    part = page.read_text().partition(f"{heading}\n")[2].partition("\n#")[0]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("| ")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_each_alert_is_explained_and_nothing_else() -> None:
    sections = OPERATING.read_text().split("\n### ")[1:]
    explained = {section.partition("\n")[0]: section.partition("\n## ")[0] for section in sections}
    told = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    assert [*explained] == [*told]
    for name, section in explained.items():
        said = re.findall(r"^- \*\*([^*]+)\*\*", section, re.MULTILINE)
        assert tuple(said) == SAID_OF_EACH, name
        assert section.split("- **Matters**")[0].rstrip().endswith(f". {told[name]}"), name


def test_each_error_and_warning_of_the_log_is_explained() -> None:
    severe = {*NOTICES, *DIED.values()}
    for _, call in spoken():
        levels = [*call.args[:1], *(each.value for each in call.keywords if each.arg == "level")]
        if any(isinstance(one, ast.Constant) and one.value in ("warn", "error") for one in levels):
            severe |= names_of(call) or set()
    assert severe <= EVENTS.keys()
    assert first_cells(OPERATING, "## What the log says by name") >= severe | {"server.failed"}
    assert set(re.findall(r"the log at `([a-z]+\.[a-z_]+)`", OPERATING.read_text())) <= EVENTS.keys()


def test_each_word_of_the_verdict_is_explained() -> None:
    source = Path(verdict.__file__).read_text()
    codes = set(re.findall(r'_verdict\(\w+, "([A-Z_]+)"', source)) | {
        code for _, _, code in verdict._IN_ORDER
    }
    assert len(codes) > 15
    assert first_cells(OPERATING, "## How is it?") == codes | {"DRAINING", "STOPPING"}


def test_each_problem_that_a_client_meets_is_explained() -> None:
    source = (ROOT / "mini_flink" / "gateway" / "problem.py").read_text()
    made = set(re.findall(r'problem\(\s*(\d+),\s*"([a-z-]+)"', source.partition("# ---")[2]))
    told = set()
    for line in PROMISES.read_text().splitlines():
        if re.match(r"\| \d{3}", line):
            statuses, codes = line.split("|")[1:3]
            told |= {
                (status, code)
                for code in re.findall(r"`([a-z-]+)`", codes)
                for status in re.findall(r"\d{3}", statuses)
            }
    assert {code for _, code in made} == {code for _, code in told if code != "error_id"}
    assert made <= told


def test_the_tests_that_promises_name_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py): (\w+)`", PROMISES.read_text())
    assert len(named) > 20
    for path, name in named:
        assert name in names_in(ROOT / path), f"{path}: {name}"


def test_commands_and_options_in_the_text_exist() -> None:
    from click import Group

    from mini_flink.cli.parsing import Program

    context = None
    for guide in GUIDES:
        text = guide.read_text()
        for command in [
            *inline_commands(text),
            *(one for block in blocks(text) for one, _ in block.commands()),
        ]:
            for words in re.findall(r"python -m mini_flink ([^|>&$]*)", command):
                known = Program("mini_flink").get_command(context, words.split()[0])  # type: ignore[arg-type]
                assert known is not None, command
                if isinstance(known, Group):
                    known = known.commands.get((*words.split(), "")[1]) or known
                flags = {flag for one in known.params for flag in (*one.opts, *one.secondary_opts)}
                assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", words)) <= flags | {"--help"}, command

"""A job as text, Mermaid, SVG and JSON, drawn by the command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.test_commands import refused, run

JOB = str(Path(__file__).with_name("branching.py"))
ODD = '"right" <b> & co'


def draw(form: str) -> str:
    done = run("graph", JOB, "--workers", "2", "--format", form)
    assert done.returncode == 0, done.stderr
    assert "a job may say something" in done.stderr
    return done.stdout


def test_as_text() -> None:
    done = run("graph", JOB, "--workers", "2")
    assert [re.sub(r" *\S+branching\.py:\d+$", "", line) for line in done.stdout.splitlines()] == [
        "branching <job>   8 steps, 4 stages, 2 workers",
        "",
        "step                    kind      size      reached  stage             made at",
        "POST /orders            requests  gateways",
        "=> clean                map       x2        in turn  clean",
        "+- -> left              map       x2                 clean",
        "|  +- => both (below)                       in turn",
        "|  +- -> aside          map       x2                 clean",
        "|     -> print-1        print     x2                 clean",
        '+- => "right" <b> & co  map       x2        by key   "right" <b> & co',
        "   => both              map       x1        in turn  both",
        "   => reply-1           reply     x2        in turn  reply-1",
    ]


def test_as_mermaid() -> None:
    lines = draw("mermaid").splitlines()
    assert lines[:4] == [
        "flowchart LR",
        '  subgraph s0["gateways"]',
        '    n0["POST /orders<br>requests"]',
        "  end",
    ]
    assert '    n3["#34;right#34; #60;b#62; #38; co<br>map"]' in lines
    assert lines[-8:-5] == ['  n0 ==>|"in turn"| n1', "  n1 --> n2", '  n1 ==>|"by key"| n3']
    assert lines.count("  end") == 5


def test_as_svg() -> None:
    text = draw("svg")
    root = ElementTree.fromstring(text)
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"branching <job>", ODD, "map x2", "in the gateways", "by key"} <= set(shown)
    assert "prefers-color-scheme: dark" in text


def test_as_json() -> None:
    shown = json.loads(draw("json"))
    assert (shown["schema"], shown["job"], shown["workers"]) == (1, "branching <job>", 2)
    assert {edge["id"]: edge["ship"] for edge in shown["edges"]} == {
        "POST /orders->clean": "rebalance",
        "clean->left": "chained",
        f"clean->{ODD}": "key_by",
        "left->both": "rebalance",
        "left->aside": "chained",
        f"{ODD}->both": "rebalance",
        "both->reply-1": "rebalance",
        "aside->print-1": "chained",
    }
    nodes = {node["id"]: node for node in shown["nodes"]}
    assert (nodes["POST /orders"]["in_gateway"], nodes["both"]["parallelism"]) == (True, 1)


def test_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "job.svg"
    done = run("graph", JOB, "--format", "svg", "--output", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    ElementTree.parse(file)
    missing = str(tmp_path / "no" / "job.svg")
    done = run("graph", JOB, "--output", missing)
    assert (done.returncode, f"{missing} cannot be written" in done.stderr) == (74, True)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "graph needs a job"),
        ([JOB, "x"], "graph takes one job, and then x"),
        ([JOB, "--format", "dot"], "'dot' is not one of"),
    ],
)
def test_wrong_usage(words: list[str], what: str) -> None:
    assert what in refused(run("graph", *words), 2)[0]


def test_a_job_that_cannot_be_loaded(tmp_path: Path) -> None:
    assert "no file" in refused(run("graph", "no.py", cwd=tmp_path), 78)[0]

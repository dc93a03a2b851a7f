"""A job as an SVG picture that needs nothing else: boxes in layers, thick arrows where records travel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import NamedTuple
from unicodedata import east_asian_width

from mini_flink.drawings.layers import layout
from mini_flink.drawings.picture import CHAINED, WORDS, Picture, Step

LETTER, LINE, PAD, GAP_X, GAP_Y, MARGIN, TITLE = 7.3, 16, 12, 96, 28, 24, 36
HEIGHT = 3 * LINE + PAD
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

STYLE = """\
.text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1b1f24 }
.faint { fill: #57606a }
.title { font-weight: bold; font-size: 14px }
.ground { fill: #ffffff }
.box { fill: #f3f5f7; stroke: #57606a }
.gateway { stroke-dasharray: 4 3 }
.arrow { fill: none; stroke: #57606a; stroke-width: 1.2 }
.head { fill: #57606a }
.far { stroke: #0550ae; stroke-width: 2.4 }
.farhead { fill: #0550ae }
.label { fill: #0550ae; stroke: #ffffff; stroke-width: 4px; paint-order: stroke }
@media (prefers-color-scheme: dark) {
  .text { fill: #e8edf2 }
  .faint { fill: #a3adb8 }
  .ground { fill: #14181d }
  .box { fill: #20262d; stroke: #a3adb8 }
  .arrow { stroke: #a3adb8 }
  .head { fill: #a3adb8 }
  .far { stroke: #79b8ff }
  .farhead { fill: #79b8ff }
  .label { fill: #79b8ff; stroke: #14181d }
}"""


class _Box(NamedTuple):
    """Where a step or a passing arrow has its place; ``y`` is the middle."""

    x: float
    y: float
    width: float

    @property
    def right(self) -> float:
        return self.x + self.width


def svg(picture: Picture) -> str:
    """The whole picture, readable on light and dark ground."""
    placed = layout(len(picture.steps), [arrow[:2] for arrow in picture.arrows])
    boxes = _boxes(picture, placed.layers)
    title = _text(picture.job)
    width = max([*(box.right for box in boxes.values()), MARGIN + _width(picture.job) * 1.2]) + MARGIN
    height = max((box.y for box in boxes.values()), default=0.0) + HEIGHT / 2 + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{title}">',
            f"<title>{title}</title>",
            f"<style>\n{STYLE}\n</style>",
            f"<defs>{_head('head')}{_head('farhead')}</defs>",
            '<rect class="ground" width="100%" height="100%"/>',
            f'<text class="text title" x="{MARGIN}" y="{MARGIN + 4}">{title}</text>',
            *_arrows(picture, placed.ways, boxes),
            *(line for index, step in enumerate(picture.steps) for line in _step(step, boxes[index])),
            "</svg>\n",
        ]
    )


def _boxes(picture: Picture, layers: list[list[int]]) -> dict[int, _Box]:
    """Columns as wide as their widest step; each in the middle of the height."""
    tallest = max((len(layer) for layer in layers), default=0)
    boxes = {}
    x = float(MARGIN)
    for layer in layers:
        steps = [picture.steps[place] for place in layer if place < len(picture.steps)]
        width = max((_width(line) for step in steps for line in _lines(step)), default=0) + 2 * PAD
        first = MARGIN + TITLE + HEIGHT / 2 + (tallest - len(layer)) * (HEIGHT + GAP_Y) / 2
        for number, place in enumerate(layer):
            boxes[place] = _Box(x, first + number * (HEIGHT + GAP_Y), width)
        x += width + GAP_X
    return boxes


def _lines(step: Step) -> tuple[str, str, str]:
    where = "in the gateways" if step.stage is None else f"stage {step.stage}"
    return step.uid, f"{step.kind} {step.size}" if step.stage is not None else step.kind, where


def _step(step: Step, box: _Box) -> Iterator[str]:
    top = box.y - HEIGHT / 2
    kind = "box gateway" if step.stage is None else "box"
    yield (
        f'<rect class="{kind}" x="{box.x:.1f}" y="{top:.1f}"'
        f' width="{box.width:.1f}" height="{HEIGHT}" rx="6"/>'
    )
    for number, line in enumerate(_lines(step)):
        style = "text faint" if number else "text"
        y = top + PAD / 2 + (number + 0.75) * LINE
        yield f'<text class="{style}" x="{box.x + PAD:.1f}" y="{y:.1f}">{_text(line)}</text>'


def _arrows(picture: Picture, ways: list[list[int]], boxes: dict[int, _Box]) -> Iterator[str]:
    for arrow, way in zip(picture.arrows, ways, strict=True):
        near = arrow.ship == CHAINED
        path = "".join(_bow(boxes[one], boxes[other]) for one, other in pairwise(way))
        start, end = boxes[way[0]], boxes[way[1]]
        style, head = ("arrow", "head") if near else ("arrow far", "farhead")
        yield f'<path class="{style}" marker-end="url(#{head})" d="M{start.right:.1f} {start.y:.1f}{path}"/>'
        if WORDS[arrow.ship]:
            x, y = (start.right + end.x) / 2, (start.y + end.y) / 2 - 5
            label = WORDS[arrow.ship]
            yield f'<text class="text label" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{label}</text>'


def _bow(one: _Box, other: _Box) -> str:
    """From one place, straight through it if only an arrow passes there, to the left of another."""
    middle = (one.right + other.x) / 2
    return (
        f"L{one.right:.1f} {one.y:.1f}"
        f"C{middle:.1f} {one.y:.1f} {middle:.1f} {other.y:.1f} {other.x:.1f} {other.y:.1f}"
    )


def _head(name: str) -> str:
    return (
        f'<marker id="{name}" markerUnits="userSpaceOnUse" markerWidth="10" markerHeight="8" refX="9"'
        f' refY="4" orient="auto"><path class="{name}" d="M0 0L10 4L0 8z"/></marker>'
    )


def _width(text: str) -> float:
    return LETTER * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _text(text: str) -> str:
    """Safe within an element or an attribute; what XML has no sign for becomes a question mark."""
    return escape(_NOT_XML.sub("?", text))

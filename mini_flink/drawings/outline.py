"""A job as lines of text: each step below those that feed it, and a column where the way divides."""

from __future__ import annotations

from collections.abc import Iterator

from mini_flink.drawings.picture import CHAINED, WORDS, Arrow, Picture, Step

HEADS = ("step", "kind", "size", "reached", "stage", "made at")
_Row = tuple[str, ...]


def outline(picture: Picture) -> str:
    """The whole job. ``->``: a call within the stage, ``=>``: on to another worker."""
    stages = len([stage for stage in picture.stages if stage is not None])
    counts = f"{_count(len(picture.steps), 'step')}, {_count(stages, 'stage')}"
    rows = [HEADS, *_Outline(picture).rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    title = f"{picture.job}   {counts}, {_count(picture.workers, 'worker')}"
    return "\n".join([title, "", *(line.rstrip() for line in lines)]) + "\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


class _Outline:
    def __init__(self, picture: Picture) -> None:
        self._steps = picture.steps
        self._out: list[list[Arrow]] = [[] for _ in picture.steps]
        self._missing = [0] * len(picture.steps)
        """How many of a step's inputs are not written yet."""
        for arrow in picture.arrows:
            self._out[arrow.source].append(arrow)
            self._missing[arrow.target] += 1

    def rows(self) -> Iterator[_Row]:
        for root in [index for index, inputs in enumerate(self._missing) if inputs == 0]:
            yield _row(self._steps[root], self._steps[root].uid, "")
            yield from self._below(root, "")

    def _below(self, index: int, indent: str) -> Iterator[_Row]:
        """What a step feeds: straight below it, or a branch for each."""
        arrows = self._out[index]
        for number, arrow in enumerate(arrows):
            self._missing[arrow.target] -= 1
            if len(arrows) == 1:
                yield from self._reached(arrow, indent, indent)
            else:
                rail = "   " if number == len(arrows) - 1 else "|  "
                yield from self._reached(arrow, f"{indent}+- ", indent + rail)

    def _reached(self, arrow: Arrow, first: str, indent: str) -> Iterator[_Row]:
        step = self._steps[arrow.target]
        text = f"{first}{'->' if arrow.ship == CHAINED else '=>'} {step.uid}"
        if self._missing[arrow.target]:  # its other inputs come first
            yield (f"{text} (below)", "", "", WORDS[arrow.ship], "", "")
            return
        yield _row(step, text, WORDS[arrow.ship])
        yield from self._below(arrow.target, indent)


def _row(step: Step, text: str, reached: str) -> _Row:
    return (text, step.kind, step.size, reached, step.stage or "", step.location)

"""A job as a Mermaid flow chart, for Markdown pages that draw it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mini_flink.drawings.picture import CHAINED, WORDS, Arrow, Picture


def mermaid(picture: Picture) -> str:
    """``flowchart LR``: a frame per stage, thick arrows where records travel."""
    return "\n".join(["flowchart LR", *_frames(picture), *map(_arrow, picture.arrows)]) + "\n"


def _frames(picture: Picture) -> Iterator[str]:
    for number, (stage, members) in enumerate(picture.stages.items()):
        size = picture.steps[members[0]].size
        title = size if stage is None else f"stage {stage} {size}"
        yield f'  subgraph s{number}["{_safe(title)}"]'
        for index in members:
            step = picture.steps[index]
            yield f'    n{index}["{_safe(step.uid)}<br>{_safe(step.kind)}"]'
        yield "  end"


def _arrow(arrow: Arrow) -> str:
    line = "-->" if arrow.ship == CHAINED else "==>"
    label = f'|"{WORDS[arrow.ship]}"|' if WORDS[arrow.ship] else ""
    return f"  n{arrow.source} {line}{label} n{arrow.target}"


def _safe(text: str) -> str:
    """Every sign that might mean something to Mermaid as its number."""
    return re.sub(r"[^\w /-]", lambda found: f"#{ord(found[0])};", text)

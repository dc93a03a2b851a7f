"""``graph``: a job drawn in one of several forms; it is loaded as a server would, and nothing is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout

from mini_flink import plan as plans
from mini_flink.config import Settings
from mini_flink.drawings.mermaid import mermaid
from mini_flink.drawings.outline import outline
from mini_flink.drawings.picture import Picture, picture
from mini_flink.drawings.svg import svg
from mini_flink.jobs import JobTarget, load_graph
from mini_flink.runners.rebuild import numbered
from mini_flink.supervisor.cores import cores_at_hand


def _json(shown: Picture) -> str:
    return json.dumps(shown.as_data(), indent=2, ensure_ascii=False) + "\n"


FORMS: Mapping[str, Callable[[Picture], str]] = {
    "text": outline,
    "mermaid": mermaid,
    "svg": svg,
    "json": _json,
}


def draw(settings: Settings, job: JobTarget, form: str) -> str:
    """The job in a form of ``FORMS``. What the job itself prints goes to stderr."""
    with redirect_stdout(sys.stderr):
        graph = load_graph(job, quiet=False)
    numbers, _ = numbered(graph, {}, 1)
    plan = plans.build(graph, settings.workers or cores_at_hand(), numbers)
    return FORMS[form](picture(graph, plan))

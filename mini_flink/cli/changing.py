"""What the commands that change a running server say while it goes on: one line a step, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

STEPS = {
    "prepare": "the job is loaded, and held against its state",
    "track": "",
    "copy": "state is copied while the server serves",
    "hold": "requests wait from here on",
    "finish": "the old workers end what they have begun",
    "build": "what has changed since is added",
    "trial": "the new version is tried on state that is thrown away",
    "probe": "",
    "trial end": "",
    "start": "the new workers start",
    "release": "requests go on",
    "abort": "back to how it was",
    "ended": "",
}


def show_change(what: str, told: Mapping[str, Any]) -> None:
    """Say one thing that the supervisor has told."""
    for line in _lines(told):
        print(f"{what}: {line}", file=sys.stderr, flush=True)


def _lines(told: Mapping[str, Any]) -> list[str]:
    if "phase" in told:
        is_repeated = told["phase"] == "copy" and told["copies"]
        step = "" if is_repeated else STEPS.get(told["phase"], told["phase"])
        return [step] if step else []
    if "retry" in told:
        return [f"once more, because {told['retry']}"]
    if "probe" in told:
        return [f"the probe was answered with {told['probe']['status']}: {told['probe']['body']}"]
    return [
        f"state {one['state']!r} of operator {one['operator']!r}: {one['outcome']} {one['detail']}".rstrip()
        for one in told.get("findings", ())
        if one["outcome"] != "kept"
    ]

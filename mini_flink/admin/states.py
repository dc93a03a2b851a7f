"""Words for how things stand, which do not flicker: a word holds once its condition has held for a while.

A machine without a clock: it is shown the conditions of each tick. What is no matter of degree, such as that
a process is down, holds at once and ends at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mini_flink.limits import ENTER_TICKS, LEAVE_TICKS

OK, IDLE, UNKNOWN, WARN, BAD = "ok", "idle", "unknown", "warn", "bad"

_AT_ONCE = ("down", "starting", "stopping", "full", "looping", "restarted")
_WORST_FIRST = (
    "looping", "down", "full", "hangs", "saturated", "slow commits", "refusing", "failing", "late",
    "stopping", "starting", "restarted", "skewed", "busy",
)  # fmt: skip


class Condition(NamedTuple):
    """Something that is worth a word. ``subject`` names an operator, a process, or a part of the server.

    Of several with one word that with the greatest ``weight`` is the one to speak of.
    """

    subject: str
    word: str
    level: str
    why: str
    weight: float = 0.0

    @property
    def rank(self) -> tuple[int, int]:
        """The worst comes first."""
        place = _WORST_FIRST.index(self.word) if self.word in _WORST_FIRST else len(_WORST_FIRST)
        return (self.level != BAD, place)


class _Word:
    """One word about one subject, in one level."""

    def __init__(self) -> None:
        self.holds = False
        self.ticks = 0
        """How many ticks in a row spoke against how it stands."""
        self.said: Condition | None = None

    def step(self, found: Condition | None, enter: int, leave: int) -> None:
        self.said = found or self.said
        if (found is not None) == self.holds:
            self.ticks = 0
            return
        self.ticks += 1
        if self.ticks >= (leave if self.holds else enter):
            self.holds, self.ticks = not self.holds, 0


class States:
    """What holds, by subject."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str, str], _Word] = {}

    def step(self, conditions: Iterable[Condition]) -> dict[str, list[Condition]]:
        """One more tick; of each subject what holds now, the worst first."""
        found = {(each.subject, each.word, each.level): each for each in conditions}
        for key in found:
            self._words.setdefault(key, _Word())
        holding: dict[str, list[Condition]] = {}
        for key, word in list(self._words.items()):
            at_once = key[1] in _AT_ONCE
            word.step(found.get(key), 1 if at_once else ENTER_TICKS, 1 if at_once else LEAVE_TICKS)
            if word.holds and word.said is not None:
                holding.setdefault(key[0], []).append(word.said)
            elif key not in found:
                del self._words[key]
        for several in holding.values():
            several.sort(key=lambda each: each.rank)
        return holding


def label(tick: dict[str, Any], holding: Mapping[str, Sequence[Condition]]) -> None:
    """Give operators, processes and the rest of the server their words: the worst that holds of each."""
    for kind, rows in (("node", tick["nodes"]), ("proc", tick["procs"])):
        for row in rows:
            worst = next(iter(holding.get(f"{kind}:{row['id']}", ())), None)
            if worst is not None:
                row["state"], row["level"], row["why"] = worst.word, worst.level, worst.why
    tick["health"] = [
        {"id": subject, "state": several[0].word, "level": several[0].level, "why": several[0].why}
        for subject, several in sorted(holding.items())
        if ":" not in subject
    ]

"""What ``top`` draws of a tick: unknown, not applicable and zero; who is blamed; what gives way to what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from mini_flink.admin.conditions import conditions
from mini_flink.admin.drawing import draw
from mini_flink.admin.sampling import tick
from mini_flink.admin.states import States, label
from mini_flink.admin.verdict import judge
from mini_flink.cli.top_view import SORTS, Screen, View
from mini_flink.limits import Limits
from tests.admin.facts import reading, status

DRAWING = draw(status(), "0")


def view(*readings: Any, **more: Any) -> View:
    """The last two of some readings as they are shown."""
    before, now = (None, *readings)[-2:]
    one = tick(before, now, DRAWING, 1)
    holding = States().step(conditions([one], Limits(), DRAWING.public))
    label(one, holding)
    one["verdict"] = judge(one, holding)
    return View(one, DRAWING.public, "http://127.0.0.1:7072", 1.0, 0.2, **more)


def lines(shown: View, width: int = 120, height: int | None = None) -> list[str]:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as drawn:
        console.print(Screen(shown, height))
    return [line.rstrip() for line in drawn.get().splitlines()]


def row(shown: list[str], name: str) -> list[str]:
    return next(line for line in shown if line.removeprefix("◆ ").startswith(f"{name} ")).split()


def test_before_anything_is_measured_it_is_unknown_not_zero() -> None:
    shown = lines(view(reading(0.0)))
    assert row(shown, "Total")[1:6] == ["?", "UNKNOWN", "2", "?", "?"]
    assert "requests ?/s" in "\n".join(shown)


def test_what_was_measured_as_nothing_is_zero_and_what_does_not_apply_is_a_dash() -> None:
    shown = lines(view(reading(0.0), reading(1.0)))
    # state ×  in/s out/s busy queue oldest failures size p99: the gateway has no stage and no state
    assert row(shown, "POST")[2:] == ["○", "IDLE", "1", "0", "0", "–", "–", "–", "0", "–", "–"]
    assert row(shown, "reply")[1:6] == ["○", "IDLE", "2", "0", "0"]
    assert row(shown, "reply")[7:] == ["–", "–", "0", "–", "–"]
    assert "requests 0/s" in "\n".join(shown)


def test_the_one_that_is_blamed_is_marked_with_the_word_of_the_verdict() -> None:
    shown = view(reading(0.0), reading(1.0, received=10))
    blamed = {**shown.tick, "verdict": {"level": "bad", "code": "SATURATED", "node": "total", "text": "why"}}
    blamed["nodes"][1] |= {"state": "saturated", "level": "bad"}
    text = lines(replace(shown, tick=blamed))
    assert text[1] == "■ BAD SATURATED  why"
    assert [line[:2] for line in text if "SATURATED" in line] == ["■ ", "◆ "]


def test_a_key_or_message_cannot_write_to_the_terminal() -> None:
    shown = view(reading(0.0), reading(1.0))
    nasty = {**shown.tick, "verdict": {"level": "bad", "code": "DOWN", "node": None, "text": "a\x1b[2Jb\nc"}}
    assert r"■ BAD DOWN  a\x1b[2Jb\nc" in lines(replace(shown, tick=nasty))


def test_a_stale_picture_says_so_in_the_place_of_the_verdict() -> None:
    text = lines(replace(view(reading(0.0), reading(1.0)), is_stale=True, age_s=7.0))
    assert "STALE 7 s" in text[0]
    assert text[1].startswith("? STALE  ")


@pytest.mark.parametrize("number", range(1, len(SORTS)))
def test_a_sorted_column_is_marked(number: int) -> None:
    text = lines(replace(view(reading(0.0), reading(1.0, received=5)), sort=number))
    assert f"{SORTS[number].title} ▼" in "\n".join(text)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_it_is_never_wider_than_the_terminal(width: int) -> None:
    text = lines(view(reading(0.0), reading(1.0), has_keys=True), width=width)
    assert max(map(len, text)) <= width
    assert any(line.startswith("Total") for line in text)


@pytest.mark.parametrize("height", [18, 20, 30])
def test_processes_give_way_before_operators(height: int) -> None:
    text = lines(view(reading(0.0), reading(1.0), has_keys=True), height=height)
    assert len(text) <= height
    assert [row(text, name) for name in ("POST", "Total", "reply")]
    assert text[-1].startswith("q quit")


def test_a_process_that_is_down_is_shown_first() -> None:
    one = status(restarts=1)
    one["processes"][2] |= {"state": "waiting", "pid": None, "last_exit": "SIGKILL"}
    first, second = reading(0.0), replace(reading(1.0), status=one)
    text = lines(view(first, second))
    place = next(number for number, line in enumerate(text) if line.startswith("process "))
    assert text[place + 1].split() == ["w1", "–", "■", "DOWN", "–", "–", "0", "–", "SIGKILL"]

"""The screen of ``top``: keys, redrawing, and what is shown when the server says nothing any more.

One thread asks the admin process, so that keys are heard while it does not answer. Called by ``top`` only.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

from rich.console import Console
from rich.live import Live

from mini_flink.asking import UnavailableError
from mini_flink.cli import is_coloured
from mini_flink.cli.admin_page import AdminPage
from mini_flink.cli.output import terminal_width
from mini_flink.cli.top_view import SORTS, Screen, View
from mini_flink.errors import MiniFlinkError

STALE_S = 3.0
GONE_S = 10.0
"""Without news for so long, ``top`` ends: a screen that nobody looks after must not show an old server."""
LOOK_S = 0.25
END_OF_INPUT = "\x04"
LEAVE = ("q", "Q", END_OF_INPUT)
ESCAPED = re.compile(r"\x1b(\[[0-9;?]*|O)?.?")
"""What an arrow key and its like send."""
WIDE = 200


class Feed:
    """What the admin process said last; asks every ``interval_s`` in a thread of its own."""

    def __init__(self, page: AdminPage, tick: dict[str, Any], interval_s: float) -> None:
        self._page = page
        self.interval_s = interval_s
        self._ended = threading.Event()
        self.plan = page.get("/api/v1/plan")
        self.tick = tick
        self.error: MiniFlinkError | None = None
        self.heard_s = time.monotonic()
        """When the last tick came that was a new one: an admin process without its server repeats itself."""
        self._thread = threading.Thread(target=self._run, name="mini_flink top feed", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self.interval_s):
            try:
                tick = self._page.get("/api/v1/tick")
                if tick["plan_hash"] != self.plan["plan_hash"]:
                    self.plan = self._page.get("/api/v1/plan")
            except MiniFlinkError as error:
                self.error = error
                continue
            if tick["seq"] != self.tick["seq"]:
                self.heard_s = time.monotonic()
            self.tick, self.error = tick, None


def show_once(page: AdminPage, tick: dict[str, Any], interval_s: float) -> None:
    """Print one moment; what goes elsewhere than to a terminal is as wide as it takes."""
    coloured = is_coloured(sys.stdout)
    console = Console(
        width=terminal_width() or WIDE, highlight=False, force_terminal=coloured, no_color=not coloured
    )
    with console.capture() as drawn:
        console.print(Screen(View(tick, page.get("/api/v1/plan"), page.url, interval_s, 0.0)))
    for line in drawn.get().splitlines():
        print(line.rstrip())


def show_live(page: AdminPage, tick: dict[str, Any], interval_s: float) -> int:
    """Redraw until somebody quits; UnavailableError when the server has been gone for a while."""
    with Feed(page, tick, interval_s) as feed, _keys() as keys, _ended_by_sigterm():
        console = Console(highlight=False)
        view = View(feed.tick, feed.plan, page.url, interval_s, 0.0, has_keys=keys is not None)
        drawn: Any = None
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                view = _renewed(view, feed)
                # What a person would not see changed is not drawn again, on any line there is in between.
                seen = (replace(view, age_s=round(view.age_s)), console.size)
                if seen != drawn:
                    drawn = seen
                    live.update(Screen(view, console.height), refresh=True)
                for key in _pressed(keys, LOOK_S):
                    if key in LEAVE:
                        return 0
                    view = _after(key, view)


def _renewed(view: View, feed: Feed) -> View:
    silent_s = time.monotonic() - feed.heard_s
    if silent_s > GONE_S + feed.interval_s:
        raise _gone(feed, silent_s)
    if view.is_paused:
        return replace(view, age_s=view.age_s + LOOK_S)
    is_stale = silent_s > STALE_S + feed.interval_s
    return replace(view, tick=feed.tick, plan=feed.plan, age_s=silent_s, is_stale=is_stale)


def _gone(feed: Feed, silent_s: float) -> UnavailableError:
    why = f": {feed.error.message}" if feed.error else ""
    return UnavailableError(
        f"no news from the server for {silent_s:.0f} s{why}",
        help="python -m mini_flink status says whether it runs",
    )


def _after(pressed: str, view: View) -> View:
    match pressed:
        case "s":
            return replace(view, sort=(view.sort + 1) % len(SORTS))
        case "p" | " ":
            return replace(view, is_paused=not view.is_paused)
        case "?" | "h":
            return replace(view, has_help=not view.has_help)
    return view


# --- keys -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The terminal's keys one by one and unseen; None if nobody can press any. Ctrl-Z would leave a mess."""
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        now = termios.tcgetattr(keyboard)
        now[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(keyboard, termios.TCSANOW, now)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _pressed(keys: int | None, wait_s: float) -> str:
    """The keys that are pressed in time; the arrow keys and their like are none."""
    if keys is None:
        time.sleep(wait_s)
        return ""
    ready, _, _ = select.select([keys], [], [], wait_s)
    if not ready:
        return ""
    pressed = os.read(keys, 32).decode(errors="replace")
    return ESCAPED.sub("", pressed) if pressed else END_OF_INPUT


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Whoever ends it leaves the terminal as it was."""

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

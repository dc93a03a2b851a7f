"""``top --data-dir D``: the server live in the terminal, with the verdict of its page."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from mini_flink.cli.output import print_json
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import UsageError

SHORTEST_S, LONGEST_S = 1.0, 3600.0
FIRST_S = 5.0
"""How long a server that has just been started may take until its first second has been measured."""
RETRY_S = 0.2


class TopCommand(Command):
    example = "top --data-dir .mini_flink/running-total"


@click.command(
    "top",
    cls=TopCommand,
    help="Show the server of a data folder live: verdict, operators, processes; once, if not on a terminal.",
)
@options_of("top")
@click.option("--interval", metavar="S", default="1", help="time between two looks, from 1 s [1]")
@click.option("--once", is_flag=True, help="show it once, as plain text")
@click.option("--json", "as_json", is_flag=True, help="the tick of the admin API, once, for programs")
def command(interval: str, once: bool, as_json: bool, **given: Any) -> int:
    settings = settings_from(given)
    interval_s = _interval(interval)
    data_dir = data_dir_of(settings, "top")
    # Imported late: --help and a wrong option need no server and no screen.
    from mini_flink.cli.admin_page import AdminPage
    from mini_flink.supervisor.admin import token_of
    from mini_flink.supervisor.members import Origin

    page = AdminPage(data_dir, token_of(settings, Origin(os.getcwd(), dict(os.environ))))
    try:
        tick = _first_tick(page)
        if as_json:
            print_json(tick)
            return 0
        from mini_flink.cli.top_live import show_live, show_once

        if once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            show_once(page, tick, interval_s)
            return 0
        return show_live(page, tick, interval_s)
    except KeyboardInterrupt:  # the usual way to leave
        return 0
    finally:
        page.close()


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise UsageError(
            f"--interval {text} is no number of seconds from {SHORTEST_S:g} to {LONGEST_S:g}",
            help="the server measures once a second: --interval 1",
        )
    return seconds


def _first_tick(page: Any) -> dict[str, Any]:
    """The admin process comes up just after the server is ready, and then measures for a second."""
    from mini_flink.asking import UnavailableError

    give_up = time.monotonic() + FIRST_S
    while True:
        try:
            tick: dict[str, Any] = page.get("/api/v1/tick")
        except UnavailableError:
            if time.monotonic() >= give_up:
                raise
        else:
            if tick["dt_ms"] or time.monotonic() >= give_up:
                return tick
        time.sleep(RETRY_S)

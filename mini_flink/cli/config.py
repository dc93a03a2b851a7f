"""``config [OPTIONS of serve] [--json]``: each setting, where its value comes from, and what it wins over."""

from __future__ import annotations

from typing import Any

import click

from mini_flink.cli.output import fit, print_json, terminal_width
from mini_flink.cli.parsing import Command, all_given_from, options_of
from mini_flink.config import HIDDEN, OPTIONS, Option
from mini_flink.config_layers import Given
from mini_flink.units import NONE

DEFAULT = "default"
WIDEST = 32
"""A longer value sticks out of its column."""


class ConfigCommand(Command):
    example = "config --port 7072"


@click.command(
    "config",
    cls=ConfigCommand,
    help="Show each setting that `serve` with these OPTIONS would have here, and where its value comes from.",
)
@options_of("serve")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
@click.option("--markdown", "as_markdown", is_flag=True, hidden=True)
def command(as_json: bool, as_markdown: bool, **given: Any) -> int:
    if as_markdown:
        from mini_flink.cli.reference import configuration  # nobody else needs it

        click.echo(configuration(), nl=False)
        return 0
    found = all_given_from(given)
    places = {option: [*found.get(option.name, ()), Given(option.default, DEFAULT)] for option in OPTIONS}
    if as_json:
        print_json({"settings": {option.name: as_data(option, places[option]) for option in OPTIONS}})
        return 0
    width = terminal_width()
    for line in lines(places):
        click.echo(fit(line, width))
    return 0


def as_data(option: Option, places: list[Given]) -> dict[str, Any]:
    """One setting for programs."""
    winner, *losers = places
    over = [{"value": _public(option, loser.value), "origin": loser.origin} for loser in losers]
    return {
        "value": _public(option, winner.value),
        "origin": winner.origin,
        "over": over,
        "unit": option.unit or None,
    }


def lines(places: dict[Option, list[Given]]) -> list[str]:
    """The settings for people, by group: ``port  7072  from --port   (over MINI_FLINK_PORT=7071)``."""
    names = max(len(option.name) for option in places)
    texts = [_text(option, given[0].value) for option, given in places.items()]
    values = max((len(text) for text in texts if len(text) <= WIDEST), default=0)
    shown: list[str] = []
    group = ""
    for option, (winner, *losers) in places.items():
        if option.group != group:
            group = option.group
            shown += ["", group] if shown else [group]
        origin = winner.origin if winner.origin == DEFAULT else f"from {winner.origin}"
        over = ", ".join(_loser(option, loser) for loser in losers)
        line = f"  {option.name:<{names}}  {_text(option, winner.value):<{values}}  {origin}"
        shown.append(f"{line}   (over {over})" if over else line)
    return shown


def _loser(option: Option, given: Given) -> str:
    between = " " if given.origin == DEFAULT else "="
    return f"{given.origin}{between}{_text(option, given.value)}"


def _public(option: Option, value: Any) -> Any:
    return HIDDEN if option.secret and value is not None else value


def _text(option: Option, value: Any) -> str:
    value = _public(option, value)
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value} {option.unit}" if option.unit else str(value)

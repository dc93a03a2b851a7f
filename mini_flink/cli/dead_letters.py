"""``dead-letters list --data-dir D [--json]``: the records that failed, with the reason."""

from __future__ import annotations

from typing import Any

import click

from mini_flink.cli.output import print_json, print_table
from mini_flink.cli.parsing import Command, Group, options_of, settings_from
from mini_flink.cli.reading import data_dir_of


@click.group("dead-letters", cls=Group, no_args_is_help=False, help="The records that failed.")
def command() -> None:
    """Holds the commands below."""


class ListCommand(Command):
    example = "dead-letters list --data-dir .mini_flink/running-total --json"


@command.command("list", cls=ListCommand, help="List the records that failed, oldest first, with the reason.")
@options_of("dead-letters list")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def list_command(as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "dead-letters list")
    from mini_flink.runners.dead_letters import read  # once the command line is known to be right

    letters = read(data_dir)
    if as_json:
        print_json({"dead_letters": letters})
    elif letters:
        print_table(letters)
    else:
        print("no dead letters")
    return 0

"""``resume [--json]``: the door of a drained server is opened again."""

from __future__ import annotations

from typing import Any

import click

from mini_flink.cli.output import print_json
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of


class ResumeCommand(Command):
    example = "resume --data-dir .mini_flink/running-total"


@click.command(
    "resume", cls=ResumeCommand, help="Take requests again after a drain, or in the middle of one."
)
@options_of("resume")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "resume")
    from mini_flink.asking import ask  # once the command line is known to be right

    resumed = ask(data_dir, "resume", {})
    if as_json:
        print_json(resumed)
    else:
        print("was not drained: requests are let in" if resumed["already"] else "requests are let in again")
    return 0

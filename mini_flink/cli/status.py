"""``status --data-dir D [--json]``: what a running server says about itself."""

from __future__ import annotations

from typing import Any

import click

from mini_flink.cli.output import print_json, print_report
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import EXIT_UNAVAILABLE, MiniFlinkError


class NoServerError(MiniFlinkError):
    """Nothing answers for a data folder."""

    exit_code = EXIT_UNAVAILABLE


class StatusCommand(Command):
    example = "status --data-dir .mini_flink/running-total --json"


@click.command(
    "status", cls=StatusCommand, help="Processes, pending requests and counts of the server of a data folder."
)
@options_of("status")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "status")
    from mini_flink.asking import query  # once the command line is known to be right

    try:
        report = query(data_dir)
    except (ConnectionError, TimeoutError, FileNotFoundError) as error:
        raise NoServerError(
            f"no server answers for {data_dir}",
            help=f"start one: python -m mini_flink serve job.py --data-dir {data_dir}",
        ) from error
    print_json(report) if as_json else print_report(report)
    return 0

"""``savepoint --data-dir D [--to LOCATION] [--json]``: a snapshot now, kept until somebody removes it."""

from __future__ import annotations

import os
from typing import Any

import click

from mini_flink import units
from mini_flink.cli.changing import follow
from mini_flink.cli.output import print_json
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of


class SavepointCommand(Command):
    example = "savepoint --data-dir .mini_flink/running-total --to s3://backups/totals"


@click.command(
    "savepoint",
    cls=SavepointCommand,
    help="Take a snapshot of a running server, whole and kept until it is removed by hand.",
)
@options_of("savepoint")
@click.option("--to", "location", metavar="LOCATION", help="folder or fsspec URL; else as the periodic ones")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(as_json: bool, location: str | None, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "savepoint")
    if location is not None and "://" not in location:
        location = os.path.abspath(location)
    taken = follow(data_dir, "savepoint", "savepoint", {"location": location})
    if as_json:
        print_json(taken)
    else:
        took = units.duration(taken["duration_ms"] / 1000)
        print(f"{taken['id']}  {units.size(taken['total_bytes'])} in {took}")
        print(f"restore it: python -m mini_flink serve JOB --restore {taken['location']}/{taken['id']}")
    return 0

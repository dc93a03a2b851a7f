"""``rescale --workers N [--parallelism UID=N]``: more or fewer workers, while clients are served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mini_flink.cli.changing import change, waited, wanted_workers
from mini_flink.cli.output import print_json
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import UsageError
from mini_flink.supervisor.words import count


class RescaleCommand(Command):
    example = "rescale --workers 4 --parallelism history=8"


@click.command(
    "rescale",
    cls=RescaleCommand,
    help="Give a running server another number of workers; requests wait a moment, none fails.",
)
@options_of("rescale")
@click.option(
    "--parallelism",
    "parallelisms",
    metavar="UID=N",
    multiple=True,
    help="subtasks of the stage that this operator begins; may be given more than once",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(as_json: bool, parallelisms: tuple[str, ...], **given: Any) -> int:
    settings = settings_from(given)
    wanted = dict(map(_parallelism, parallelisms))
    workers = wanted_workers(settings)
    if workers is None and not wanted:
        raise UsageError("rescale needs a number", help="python -m mini_flink rescale --workers 4")
    data_dir = data_dir_of(settings, "rescale")
    question: Mapping[str, Any] = {"workers": workers, "parallelisms": wanted}
    changed = change(data_dir, "rescale", question)
    if as_json:
        print_json(changed)
    else:
        print(f"{count(changed['workers'], 'worker')}; {waited(changed)}")
    return 0


def _parallelism(text: str) -> tuple[str, int]:
    uid, _, number = text.rpartition("=")
    if not uid or not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise UsageError(f"--parallelism {text} is not UID=N", help="as in --parallelism history=8")
    return uid, int(number)

"""``drain [--stop] [--timeout S] [--json]``: it takes nothing more, and has done all that it took."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from mini_flink.cli.output import print_json
from mini_flink.cli.parsing import Command, Number, options_of, settings_from
from mini_flink.cli.reading import data_dir_of


class DrainCommand(Command):
    example = "drain --stop --data-dir .mini_flink/running-total"


@click.command(
    "drain",
    cls=DrainCommand,
    help="Refuse new requests, answer those in flight, and have all state in the tables; resume undoes it.",
)
@options_of("drain")
@click.option("--stop", is_flag=True, help="then end the server")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=Number(min=0),
    help="wait so many seconds at most; exit code 75 if it is not drained by then, and the door stays closed",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(stop: bool, timeout_s: float | None, as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "drain")
    from mini_flink.asking import ask, until_ended  # once the command line is known to be right

    try:
        drained = ask(data_dir, "drain", {"stop": stop, "timeout_s": timeout_s}, _show)
    except KeyboardInterrupt:
        print("drain: it goes on without you; resume opens the door again", file=sys.stderr)
        raise
    if stop:
        until_ended(data_dir)
        drained["state"] = "stopped"
    if as_json:
        print_json(drained)
    else:
        print(_sentence(drained))
    return 0


def _show(told: Mapping[str, Any]) -> None:
    print(f"drain: {told['text']}", file=sys.stderr, flush=True)


def _sentence(drained: Mapping[str, Any]) -> str:
    if drained["already"]:
        said = "drained already"
    else:
        counts = f"{drained['answered']} answered, {drained['timed_out']} timed out"
        said = f"drained in {drained['seconds']:.1f} s: {counts}"
    return f"{said}; {'the server has ended' if drained['state'] == 'stopped' else 'resume opens the door'}"

"""``snapshot list|show|verify``: which snapshots there are, what is in one, which are as written."""

from __future__ import annotations

import os
from typing import Any

import click

from mini_flink.cli.output import print_json, print_report, print_table
from mini_flink.cli.parsing import Command, Group, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import EXIT_STORAGE, FolderError

as_json_option = click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")


@click.group("snapshot", cls=Group, no_args_is_help=False, help="The snapshots of a job.")
def command() -> None:
    """Holds the commands below."""


class ListCommand(Command):
    usage = "[LOCATION] [OPTIONS]"
    example = "snapshot list --data-dir .mini_flink/running-total"


@command.command(
    "list", cls=ListCommand, help="List the snapshots of a data folder or at LOCATION, a folder or URL."
)
@options_of("snapshot list")
@as_json_option
@click.argument("location", required=False)
def list_command(location: str | None, as_json: bool, **given: Any) -> int:
    place = location or _default_location(given, "snapshot list")
    from mini_flink.runners.snapshots import list_all  # once the command line is known to be right

    found = list_all(place, may_be_new=location is None)
    if as_json:
        print_json(found)
    elif found["snapshots"]:
        print_table([_row(one) for one in found["snapshots"]])
    else:
        print(f"no snapshots in {found['location']}")
    return 0


class ShowCommand(Command):
    usage = "[SNAPSHOT] [OPTIONS]"
    example = "snapshot show latest --data-dir .mini_flink/running-total"


@command.command(
    "show", cls=ShowCommand, help="Show SNAPSHOT: latest, which is the default, an id, a folder or URL."
)
@options_of("snapshot show")
@as_json_option
@click.argument("snapshot", default="latest")
def show_command(snapshot: str, as_json: bool, **given: Any) -> int:
    place = _default_location(given, "snapshot show", snapshot)
    from mini_flink.runners.snapshots import describe

    described = describe(snapshot, place)
    print_json(described) if as_json else print_report(_with_reasons(described))
    return 0


class VerifyCommand(Command):
    usage = "[SNAPSHOT] [OPTIONS]"
    example = "snapshot verify --data-dir .mini_flink/running-total"


@command.command(
    "verify",
    cls=VerifyCommand,
    help="Read SNAPSHOT, or all that are there, and compare checksums; damage exits 74.",
)
@options_of("snapshot verify")
@as_json_option
@click.argument("snapshot", required=False)
def verify_command(snapshot: str | None, as_json: bool, **given: Any) -> int:
    place = _default_location(given, "snapshot verify", snapshot)
    from mini_flink.bar import BYTES, Bar
    from mini_flink.runners.snapshots import DAMAGED, verify

    bar = Bar("snapshot verify")
    try:
        found = verify(snapshot, place, lambda done, total: bar.show(done, total, BYTES))
    finally:
        bar.close()
    if as_json:
        print_json(found)
    elif found["snapshots"]:
        print_table([_with_reasons(one) for one in found["snapshots"]])
    else:
        print(f"no snapshots in {found['location']}")
    return EXIT_STORAGE if any(one["state"] == DAMAGED for one in found["snapshots"]) else 0


def _default_location(given: dict[str, Any], name: str, snapshot: str | None = None) -> str:
    """Where ``latest`` and ids are looked for; nobody needs to say it for a path or URL."""
    settings = settings_from(given)
    from mini_flink.folder import near_folder
    from mini_flink.snapshots.catalog import is_in_default_location
    from mini_flink.snapshots.location import default_location

    if settings.snapshot_dir is not None:
        return settings.snapshot_dir
    if snapshot is not None and not is_in_default_location(snapshot):
        return ""
    data_dir = data_dir_of(settings, name)
    if not os.path.isdir(data_dir):
        raise FolderError(
            f"there is no folder {data_dir}",
            help=near_folder(data_dir) or "name the folder that serve was given as --data-dir",
        )
    return default_location(None, data_dir)


def _row(one: dict[str, Any]) -> dict[str, Any]:
    """What fits on a line."""
    names = ("id", "kind", "job", "epoch", "workers", "created_at", "new_bytes", "total_bytes")
    return {**{name: one.get(name) for name in names}, "state": _with_reasons(one)["state"]}


def _with_reasons(one: dict[str, Any]) -> dict[str, Any]:
    """The problems behind the state, for people."""
    rest = {name: value for name, value in one.items() if name != "problems"}
    if one["state"] == "present":
        return {**rest, "state": "present, not verified"}
    return {**rest, "state": ": ".join([one["state"], *["; ".join(one["problems"])] * bool(one["problems"])])}

"""``state get|scan``: what is in keyed state, of a running server or of the folder that it has left."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from mini_flink.cli.output import print_json, print_table
from mini_flink.cli.parsing import Command, Group, options_of, settings_from
from mini_flink.cli.reading import data_dir_of

SHOWN = 60
"""Characters of a key or value in a table of many."""
HELP_KEY = """\
Show the state of a key.

KEY is JSON: 42, true, "a", and ["a", 1] for the tuple ("a", 1). What is no JSON, or cannot be a key as such,
is the string as it stands: ann. The string "17" is written '"17"'. What JSON has not: {"$bytes": "00ff"},
{"$uuid": "…"}, {"$date": "2026-01-31"}, {"$datetime": "…"}; any other key as scan shows it. With - it is
read from stdin. Values are as committed this moment, classes of the job as plain data."""


class StateGroup(Group):
    example = "get k17 --data-dir .mini_flink/running-total"


@click.group("state", cls=StateGroup, no_args_is_help=False, help="What is in keyed state.")
def command() -> None:
    """Holds the commands below."""


class GetCommand(Command):
    usage = "KEY [OPTIONS]"
    example = "state get k17 --data-dir .mini_flink/running-total"


@command.command("get", cls=GetCommand, help=HELP_KEY, short_help="Show the state of a key.")
@options_of("state get")
@click.argument("key", metavar="KEY")
@click.option("--operator", metavar="UID", help="only the state of this operator")
@click.option("--state", metavar="NAME", help="only the state of this name")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def get_command(key: str, operator: str | None, state: str | None, as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "state get")
    from mini_flink.runners.keyed_state import get, opened  # once the command line is known to be right

    with opened(data_dir) as tell:
        found = get(tell, sys.stdin.read().rstrip("\n") if key == "-" else key, operator, state)
    if as_json:
        print_json(found)
        return 0
    for row in found["states"]:
        print(f"{row['operator']}  {row['state']}  {_kind(row)}  {_size(row)}  {_place(row)}")
        print(f"  {row['text']}{_remark(row)}")
    if not found["states"]:
        print("this key has no state" + (f"; {found['hint']}" if found["hint"] else ""))
        for owner in found["owners"]:
            print(f"  {owner['operator']}  it would be in {_place(owner)}")
    return 0


class ScanCommand(Command):
    example = "state scan --operator total --data-dir .mini_flink/running-total"


@command.command("scan", cls=ScanCommand, help="Show keys with their state, page by page, in stored order.")
@options_of("state scan")
@click.option("--operator", metavar="UID", required=True, help="whose state")
@click.option("--state", metavar="NAME", help="only the state of this name")
@click.option("--limit", metavar="N", default=100, type=click.IntRange(1), help="rows, at most [100]")
@click.option("--after", metavar="CURSOR", help="go on where the page before has ended")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def scan_command(
    operator: str, state: str | None, limit: int, after: str | None, as_json: bool, **given: Any
) -> int:
    data_dir = data_dir_of(settings_from(given), "state scan")
    from mini_flink.runners.keyed_state import opened, scan  # once the command line is known to be right

    with opened(data_dir) as tell:
        page = scan(tell, operator, state, limit, after)
    if as_json:
        print_json(page)
    elif page["rows"]:
        print_table([_line(row) for row in page["rows"]])
    else:
        print("no state")
    if page["after"] and not as_json:
        print(f"more: --after {page['after']}", file=sys.stderr)
    return 0


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    line = {"key": _short(row["key_text"]), "state": row["state"], "value": _short(row["text"])}
    return {**line, "bytes": row["bytes"], "key_group": row["key_group"], "worker": row["worker"]}


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _kind(row: Mapping[str, Any]) -> str:
    return f"{row['kind']} of {row['type']}" if row["type"] else str(row["kind"])


def _size(row: Mapping[str, Any]) -> str:
    if row["kind"] != "map":
        return _count(row["bytes"], "byte")
    if row["entries"] is None:
        return "many entries"
    return f"{row['entries']} {'entry' if row['entries'] == 1 else 'entries'}, {_count(row['bytes'], 'byte')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _place(row: Mapping[str, Any]) -> str:
    return f"key group {row['key_group']}, subtask {row['subtask']}, worker {row['worker']}"


def _remark(row: Mapping[str, Any]) -> str:
    remarks = ["as stored: it is too long, or cannot be decoded"] if not row["decoded"] else []
    remarks += ["accumulator"] if row["kind"] == "aggregating" else []
    remarks += ["cut"] if row["cut"] else []
    return f"   ({', '.join(remarks)})" if remarks else ""

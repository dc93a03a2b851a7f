"""``dead-letters list|show|retry|drop``: the records that failed, and what becomes of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from mini_flink.cli.changing import follow
from mini_flink.cli.output import print_json, print_report, print_table
from mini_flink.cli.parsing import Command, Group, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import EXIT_DECLINED, UsageError
from mini_flink.suggest import did_you_mean

LISTED = ("failed_at", "error_id", "operator", "key", "value", "error")
"""What of a dead letter is in the list for people; ``show`` has all of it."""


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
    letters = _letters(data_dir, "list", None)
    if as_json:
        print_json({"dead_letters": letters})
    elif letters:
        print_table([{name: letter[name] for name in LISTED if name in letter} for letter in letters])
    else:
        print("no dead letters")
    return 0


class ShowCommand(Command):
    example = "dead-letters show 0-1-1 --data-dir .mini_flink/running-total"


@command.command("show", cls=ShowCommand, help="Show one record that failed, with its value and traceback.")
@options_of("dead-letters show")
@click.argument("error_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def show_command(error_id: str, as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "dead-letters show")
    letters = _letters(data_dir, "show", [error_id])
    if not letters:
        raise UsageError(
            f"there is no dead letter {error_id}",
            help=f"see which there are: python -m mini_flink dead-letters list --data-dir {data_dir}",
        )
    if as_json:
        print_json(letters[0])
    else:
        print_report(letters[0])
    return 0


def _letters(data_dir: str, do: str, ids: Sequence[str] | None) -> list[dict[str, Any]]:
    """Of a running server as its workers have them this moment, else as the tables have them."""
    from mini_flink.asking import ask, is_running  # once the command line is known to be right

    if is_running(data_dir):
        told = ask(data_dir, "dead_letters", {"do": do, "ids": ids, "operator": None})
        if told["more"]:
            print(f"{told['more']} more are not listed", file=sys.stderr)
        return sorted(told["dead_letters"], key=lambda letter: str(letter["failed_at"]))
    from mini_flink.runners.dead_letters import read

    return [letter for letter in read(data_dir) if ids is None or letter["error_id"] in ids]


class RetryCommand(Command):
    example = "dead-letters retry --all --operator total --data-dir .mini_flink/running-total"


class DropCommand(Command):
    example = "dead-letters drop 0-1-1 --data-dir .mini_flink/running-total"


def _choice(name: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The arguments by which records are chosen."""

    def add(function: Callable[..., int]) -> Callable[..., int]:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs"),
            click.option("--yes", is_flag=True, help="do not ask when it is more than one"),
            click.option("--operator", metavar="UID", help="only those that failed in this operator"),
            click.option("--all", "every", is_flag=True, help="all of them"),
            click.argument("ids", metavar="[ID]...", nargs=-1),
            options_of(name),
        ):
            function = option(function)
        return function

    return add


@command.command("retry", cls=RetryCommand, help="Give records that failed to their operators once more.")
@_choice("dead-letters retry")
def retry_command(**given: Any) -> int:
    return _settle("retry", "retried", **given)


@command.command("drop", cls=DropCommand, help="Remove records that failed, for good.")
@_choice("dead-letters drop")
def drop_command(**given: Any) -> int:
    return _settle("drop", "dropped", **given)


def _settle(
    do: str,
    done: str,
    *,
    ids: Sequence[str],
    every: bool,
    operator: str | None,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> int:
    data_dir = data_dir_of(settings_from(given), f"dead-letters {do}")
    if bool(ids) == every:
        raise UsageError(
            f"dead-letters {do} needs either IDs or --all",
            help=f"python -m mini_flink dead-letters {do} --help",
        )
    from mini_flink.asking import ask  # once the command line is known to be right

    question = {"ids": None if every else sorted(set(ids)), "operator": operator}
    if operator is not None:
        _check_operator(data_dir, operator)
    if not yes and (every or len(ids) > 1):
        listed = ask(data_dir, "dead_letters", {"do": "list", **question})
        count = len(listed["dead_letters"]) + listed["more"]
        if not sys.stdin.isatty():
            raise UsageError(f"this would {do} {count} records", help="say --yes to do so")
        if not click.confirm(f"{do} {count} records?", err=True):
            return EXIT_DECLINED
    told = follow(data_dir, f"dead-letters {do}", "dead_letters", {"do": do, **question})
    skipped = told["skipped"] if every else len(set(ids)) - told[done]
    if as_json:
        print_json({done: told[done], "skipped": skipped})
    else:
        print(f"{done} {told[done]}, skipped {skipped}")
        if do == "retry" and told[done]:
            print("one that fails again is a new dead letter: dead-letters list")
    _check_known(data_dir, sorted(set(ids) - set(told["known"])))
    return 0


def _check_operator(data_dir: str, operator: str) -> None:
    """UsageError if neither the job has such an operator nor a dead letter is of one that it had."""
    from mini_flink.asking import ask, query

    known = [each["uid"] for each in query(data_dir)["operators"]]
    if operator in known:
        return
    if not ask(data_dir, "dead_letters", {"do": "list", "ids": None, "operator": operator})["dead_letters"]:
        operators = f"the operators are {', '.join(known)}"
        raise UsageError(
            f"there is no operator {operator}", help=did_you_mean(operator, known, otherwise=operators)
        )


def _check_known(data_dir: str, unknown: Sequence[str]) -> None:
    """UsageError that names the dead letters that are not there."""
    if unknown:
        raise UsageError(
            f"there is no dead letter {', '.join(unknown)}: none ever, or it was retried or dropped before",
            help=f"see which there are: python -m mini_flink dead-letters list --data-dir {data_dir}",
        )

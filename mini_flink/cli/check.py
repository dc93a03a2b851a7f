"""``check JOB [OPTIONS] [-- ARGS]``: what a job is made of, and what would become of stored state."""

from __future__ import annotations

from typing import Any

import click

from mini_flink.cli.output import print_json, print_report
from mini_flink.cli.parsing import Command, job_of, options_of, settings_from

_OF_THE_JOB = ("job", "made_at", "workers", "max_parallelism", "steps", "states")
_OF_THE_COMPARISON = ("state_changes", "operator_changes")


class CheckCommand(Command):
    usage = "JOB [OPTIONS] [-- ARGS]"
    example = "check job.py --against latest"
    takes_job_args = True


@click.command(
    "check",
    cls=CheckCommand,
    help="Show what JOB is made of, and whether it could go on with what is stored; changes nothing.",
)
@options_of("check")
@click.option(
    "--against",
    metavar="SNAPSHOT",
    help="latest, an ID, PATH or URL, or a data folder; else the job's own",
)
@click.option("--allow-dropped-state", "allow_dropped", is_flag=True, help="state without operator may go")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
@click.argument("words", nargs=-1, type=click.Path())
@click.pass_context
def command(
    context: click.Context,
    /,
    words: tuple[str, ...],
    against: str | None,
    allow_dropped: bool,
    as_json: bool,
    **given: Any,
) -> int:
    settings = settings_from(given)
    args: tuple[str, ...] = context.meta.get("job_args", ())
    job = job_of("check", words)
    from mini_flink.jobs import JobTarget  # once the command line is known to be right
    from mini_flink.runners.check import check

    checked = check(settings, JobTarget.parse(job, args), against=against, allow_dropped=allow_dropped)
    print_json(checked.report) if as_json else _print(checked.report)
    if checked.refusal is not None:
        raise checked.refusal
    return 0


def _print(report: dict[str, Any]) -> None:
    print_report({name: report[name] for name in _OF_THE_JOB if report[name] != []})
    for warning in report["warnings"]:
        print(f"\nwarning: {warning}")
    if report["against"] is None:
        print("\nnothing is stored yet: every state would begin empty")
        return
    print(f"\ncompared with the {report['against']}")
    for name in _OF_THE_COMPARISON:
        if report[name]:
            print_report({name: report[name]})
    if report["would_start"]:
        print("\nit would start with this state")

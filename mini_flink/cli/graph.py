"""``graph JOB [OPTIONS] [-- ARGS]``: how records flow through a job, drawn without starting anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mini_flink.cli.parsing import Command, job_of, options_of, settings_from
from mini_flink.errors import storage_error

FORMS = ("text", "mermaid", "svg", "json")


class GraphCommand(Command):
    usage = "JOB [OPTIONS] [-- ARGS]"
    example = "graph job.py --format svg --output job.svg"
    takes_job_args = True


@click.command("graph", cls=GraphCommand, help="Draw how records flow through JOB; nothing is started.")
@options_of("graph")
@click.option(
    "--format", "form", metavar="|".join(FORMS), type=click.Choice(FORMS), default="text", help="[text]"
)
@click.option("--json", "as_json", is_flag=True, help="the same as --format json")
@click.option("--output", metavar="FILE", help="write it there, instead of to stdout")
@click.argument("words", nargs=-1, type=click.Path())
@click.pass_context
def command(
    context: click.Context,
    /,
    words: tuple[str, ...],
    form: str,
    as_json: bool,
    output: str | None,
    **given: Any,
) -> int:
    settings = settings_from(given)
    args: tuple[str, ...] = context.meta.get("job_args", ())
    job = job_of("graph", words)
    from mini_flink.jobs import JobTarget  # once the command line is known to be right
    from mini_flink.runners.graph import draw

    drawn = draw(settings, JobTarget.parse(job, args), "json" if as_json else form)
    if output is None:
        sys.stdout.write(drawn)
        return 0
    try:
        Path(output).write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise storage_error(output, error) from error
    return 0

"""``serve [JOB] [OPTIONS] [-- ARGS]``: serve a job until it is told to stop."""

from __future__ import annotations

import sys
from typing import Any

import click

from mini_flink.cli import show_error
from mini_flink.cli.overview import PROGRAM
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.errors import ConfigError, UsageError

PLACES = """\
Each but --config is also a key of ./mini_flink.toml (port = 7071) and a variable (MINI_FLINK_PORT=7071);
the command line wins over the variable, the variable over the file."""
SHIPPED_JOB = "mini_flink.examples.event_service"


class ServeCommand(Command):
    usage = "[JOB] [OPTIONS] [-- ARGS]"
    example = "serve job.py --port 7071 --workers 2"
    takes_job_args = True

    def get_help(self, ctx: click.Context) -> str:
        return f"{super().get_help(ctx)}\n\n{PLACES}"


@click.command(
    "serve",
    cls=ServeCommand,
    help="Serve JOB, a file or module, as `python JOB ARGS` would run it; without it a small event service.",
)
@options_of("serve")
@click.option("--restore", metavar="SNAPSHOT", help="go on from latest, an ID, PATH or URL")
@click.option("--yes", is_flag=True, help="--restore may take the place of newer state")
@click.option("--allow-dropped-state", is_flag=True, help="state without operator may go")
@click.argument("words", nargs=-1, type=click.Path())
@click.pass_context
def command(
    context: click.Context,
    /,
    words: tuple[str, ...],
    restore: str | None,
    yes: bool,
    allow_dropped_state: bool,
    **given: Any,
) -> int:
    settings = settings_from(given)
    job, *more = words or (SHIPPED_JOB,)
    if more:
        raise UsageError(
            f"serve takes one job, and then {more[0]}",
            help=f"arguments of the job go behind --: {PROGRAM} serve {job} -- {' '.join(more)}",
        )
    if sys.platform != "linux":
        raise ConfigError(
            f"serve needs Linux, this is {sys.platform}",
            help=f"to try the job in one process, without durable state: python {job}",
        )
    # Imported late: --help and a wrong option need no job and no server.
    from mini_flink.jobs import JobTarget
    from mini_flink.runners.arrival import Arrival

    args: tuple[str, ...] = context.meta.get("job_args", ())
    arrival, target = Arrival(restore, yes, allow_dropped_state), JobTarget.parse(job, args)
    if settings.dev:
        from mini_flink.runners.dev import develop

        return develop(settings, target, arrival, show_error)
    from mini_flink.runners.server import serve

    return serve(settings, target, arrival)

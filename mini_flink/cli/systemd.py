"""``systemd install JOB``: what systemd needs to run a job as a service."""

from __future__ import annotations

import sys
from typing import Any

import click

from mini_flink.cli.overview import PROGRAM
from mini_flink.cli.parsing import Command, Group, options_of, settings_from
from mini_flink.errors import UsageError


@click.group("systemd", cls=Group, no_args_is_help=False, help="A job as a service of systemd.")
def command() -> None:
    """Holds the command below."""


class InstallCommand(Command):
    usage = "JOB [OPTIONS] [-- ARGS]"
    example = "systemd install job.py --name orders"
    takes_job_args = True


@command.command(
    "install",
    cls=InstallCommand,
    help="Write the units and the configuration of JOB, of which a file is copied; starts nothing.",
)
@options_of("serve")
@click.option("--name", metavar="NAME", help="of the instance, mini-flink@NAME; else the job's")
@click.option("--root", metavar="DIR", default="/", help="write below this folder, as packages do [/]")
@click.option("--force", is_flag=True, help="write files anew that say something else")
@click.option("--dry-run", is_flag=True, help="only say which files would be written")
@click.argument("words", nargs=-1)
@click.pass_context
def install_command(
    context: click.Context,
    /,
    words: tuple[str, ...],
    name: str | None,
    root: str,
    force: bool,
    dry_run: bool,
    **given: Any,
) -> int:
    settings = settings_from(given)
    if len(words) != 1:
        raise UsageError("systemd install takes one job", help=f"{PROGRAM} systemd install job.py")
    from mini_flink.jobs import JobTarget  # once the command line is known to be right
    from mini_flink.systemd.install import install

    job = JobTarget.parse(words[0], context.meta.get("job_args", ()))
    done = install(settings, job, name=name, root=root, force=force, dry_run=dry_run)
    for path in done.written:
        print(f"{'would write' if dry_run else 'wrote'} {path}")
    if not done.written:
        print("everything is there already")
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("\nnext, as root:", flush=True)
    for line in done.commands:
        print(f"  {line}")
    return 0

"""``init NAME``: a new project, with a job that serves and a test that passes."""

from __future__ import annotations

import shlex

import click

from mini_flink.cli.overview import PROGRAM
from mini_flink.cli.parsing import Command


class InitCommand(Command):
    usage = "NAME"
    example = "init shop"


@click.command(
    "init",
    cls=InitCommand,
    help="Make the folder NAME with a job that serves and its test, and say what to type next.",
)
@click.argument("folder", metavar="NAME")
def command(folder: str) -> int:
    from mini_flink.runners.init import FILES, create  # once the command line is known to be right

    name = create(folder)
    print(f"{name}: a new job in {folder}\n")
    for file, meaning in FILES.items():
        print(f"  {file:<18}{meaning}")
    print(f"\nNext\n  cd {shlex.quote(folder)}")
    print(f"  {PROGRAM} serve job.py")
    print("""  curl localhost:7071/total -d '{"key":"ann","amount":3}'     in a second terminal""")
    print("  python -m pytest")
    return 0

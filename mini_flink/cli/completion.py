"""``completion bash|zsh|fish``: the script that has a shell complete what is typed behind ``mini-flink``.

The script asks the program itself, by a variable that ``cli.main`` looks for: so it need not be made anew for
another version.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class, shell_complete

from mini_flink.cli.overview import COMPLETE_VARIABLE
from mini_flink.cli.parsing import Command, program

SCRIPT = "mini-flink"
SHELLS = ("bash", "zsh", "fish")
USE = f"""\
What is completed is the command {SCRIPT}, which is installed beside `python -m mini_flink` and the same.

  bash, in ~/.bashrc                  eval "$({SCRIPT} completion bash)"
  zsh, in ~/.zshrc                    eval "$({SCRIPT} completion zsh)"
  fish, in ~/.config/fish/config.fish {SCRIPT} completion fish | source"""


class CompletionCommand(Command):
    usage = "|".join(SHELLS)
    example = "completion bash"

    def get_help(self, ctx: click.Context) -> str:
        return f"{super().get_help(ctx)}\n\n{USE}"


@click.command(
    "completion", cls=CompletionCommand, help="Print the script that completes commands and options."
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
def command(shell: str) -> int:
    made = get_completion_class(shell)
    if made is None:  # the choice above is among those that click has
        raise ValueError(shell)
    click.echo(made(program, {}, SCRIPT, COMPLETE_VARIABLE).source())
    return 0


def answer(instruction: str) -> int:
    """What the script asks for: what could stand at the cursor."""
    return shell_complete(program, {}, SCRIPT, COMPLETE_VARIABLE, instruction)

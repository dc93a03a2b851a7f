"""click, once: the group of commands, options made from the one list, and wrong usage told as our own errors.

Called by ``cli.main`` for every command; the files of the commands take their decorators from here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from mini_flink import __version__
from mini_flink.cli.overview import COMMANDS, PROGRAM, overview
from mini_flink.config import GIB, KIB, MIB, OPTIONS, Option, Settings
from mini_flink.config_layers import CONFIG_FILE, Given, all_given, resolve
from mini_flink.errors import UsageError
from mini_flink.suggest import did_you_mean, nearest


class Command(click.Command):
    """A command whose help is one line per option, with an example in the first two lines.

    What follows ``--`` is not parsed; it is in ``context.meta["job_args"]``.
    """

    usage: str = "[OPTIONS]"
    example: str = ""
    takes_job_args: bool = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self.takes_job_args and "--" in args:
            cut = args.index("--")
            args, ctx.meta["job_args"] = args[:cut], tuple(args[cut + 1 :])
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        head = f"Usage:   {ctx.command_path} {self.usage}\nExample: {PROGRAM} {self.example}\n\n{self.help}"
        return "\n".join([head, *_option_lines(self.params)])


class Number(click.FloatRange):
    """A float within limits; what is none is called as people call it."""

    name = "number"


class Group(click.Group):
    """A command that has commands of its own (``dead-letters list``); an unknown one is our own error."""

    example: str = ""

    def get_help(self, ctx: click.Context) -> str:
        names = self.list_commands(ctx)
        lines = [f"  {name:<14}{self.commands[name].get_short_help_str(80)}" for name in names]
        example = self.example or f"{names[0]} --data-dir D"
        usage = f"Usage:   {ctx.command_path} COMMAND\nExample: {ctx.command_path} {example}"
        return "\n".join([usage, "", "Commands", *lines])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"unknown command {name}", help=_command_help(name, known, ctx.command_path))
        return super().resolve_command(ctx, args)


def _command_help(name: str, known: list[str], path: str) -> str:
    if name.endswith(".py"):
        return f"did you mean {PROGRAM} serve {name}?"
    return did_you_mean(name, known, otherwise=f"{path} --help lists the commands: {', '.join(known)}")


class Program(Group):
    """The whole command line: commands by name, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for name, module, _ in COMMANDS:
            if name == cmd_name:
                command: click.Command = importlib.import_module(module).command
                return command
        return None

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002
        return overview()


@click.group("mini_flink", cls=Program, no_args_is_help=False)
@click.version_option(__version__, message="mini_flink %(version)s")
def program() -> None:
    """The whole command line."""


def run(words: list[str]) -> int:
    """Parse and run; raises MiniFlinkError for everything that can go wrong on purpose."""
    names = [name for name, _, _ in COMMANDS if name == words[0]]
    place = " ".join([PROGRAM, *names])
    try:
        # Not click's own main: that one would print for itself on Ctrl-C and on a closed pipe.
        with program.make_context(PROGRAM, words) as context:
            code = program.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.Abort:  # Ctrl-C, or the end of the input, at a question
        raise KeyboardInterrupt from None
    except click.exceptions.NoSuchOption as error:
        raise _unknown_option(error) from None
    except click.UsageError as error:
        said = " ".join(error.format_message().split()).rstrip(".")
        raise UsageError(said, help=_usage_help(error, place)) from None
    return code if isinstance(code, int) else 0


def _usage_help(error: click.UsageError, place: str) -> str:
    """Which command to ask for help, and the nearest of the values that would have done."""
    command = error.ctx.command_path if error.ctx else place
    parameter = getattr(error, "param", None)
    if isinstance(error, click.BadParameter) and isinstance(getattr(parameter, "type", None), click.Choice):
        typed = error.message.partition(" is not one of ")[0].strip("'")
        match = nearest(typed, parameter.type.choices) if parameter else None
        return f"did you mean {match}?   {command} --help" if match else f"{command} --help"
    return f"{command} --help"


def _unknown_option(error: click.exceptions.NoSuchOption) -> UsageError:
    ctx = error.ctx
    command = ctx.command_path if ctx else PROGRAM
    parameters = ctx.command.get_params(ctx) if ctx else []
    flags = [flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)]
    # Compared without the dashes, which would make every option look like every other.
    match = nearest(error.option_name.lstrip("-"), [flag.lstrip("-") for flag in flags])
    hint = f"did you mean --{match}?   " if match else ""
    name = command.removeprefix(PROGRAM).strip() or "mini_flink"
    return UsageError(
        f"unknown option {error.option_name} for {name}", help=f"{hint}all options: {command} --help"
    )


def options_of(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a click command with all options of the list that it takes, and ``--config``.

    Values stay text: they are converted and checked where those of the file and the environment are.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        config = click.option("--config", metavar="FILE", help=f"settings, in the place of ./{CONFIG_FILE}")
        function = config(function)
        for option in reversed([option for option in OPTIONS if command in option.commands]):
            function = _click_option(option)(function)
        return function

    return decorate


def _click_option(option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flag = f"{option.flag}/--no-{option.flag[2:]}" if option.type is bool else option.flag
    return click.option(
        flag,
        option.name,
        default=None,
        type=None if option.type is bool else str,
        metavar=None if option.type is bool else _metavar(option),
        help=option.meaning + _default_text(option),
        shell_complete=lambda _context, _parameter, begun: _completed(option, begun),
    )


def _completed(option: Option, begun: str) -> list[CompletionItem[str]]:
    if option.choices:
        return [CompletionItem(choice) for choice in option.choices if choice.startswith(begun)]
    return [CompletionItem(begun, type="dir")] if option.name.endswith("_dir") else []


def _metavar(option: Option) -> str:
    if option.choices:
        return "|".join(option.choices)
    if option.type in (int, float):
        return {"ms": "MS", "s": "S", "bytes": "BYTES"}.get(option.unit, "N")
    return "DIR" if option.name.endswith("_dir") else "TEXT"


def _default_text(option: Option) -> str:
    if option.default is None or option.default is False:
        return ""
    if option.default is True:
        return f" [on; --no-{option.flag[2:]}]"
    return f" [{_shown(option)}]"


def _shown(option: Option) -> str:
    if option.type is bool:
        return "on"
    if option.unit == "bytes":
        for size, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if option.default % size == 0:
                return f"{option.default // size} {name}"
    return str(option.default)


def _option_lines(parameters: list[click.Parameter]) -> Iterator[str]:
    groups = {option.name: option.group for option in OPTIONS}
    shown = ""
    for parameter in parameters:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        group = groups.get(parameter.name or "", "Other")
        if group != shown:
            yield f"\n{group}"
            shown = group
        names = parameter.opts[0] + (f" {parameter.metavar}" if parameter.metavar else "")
        yield f"  {names:<32}{parameter.help}"


def settings_from(given: dict[str, Any]) -> Settings:
    """The settings of a command from click's parameters: what was not given there comes from elsewhere."""
    config_file = given.pop("config")
    return resolve(_typed(given), environment=os.environ, directory=os.getcwd(), config_file=config_file)


def all_given_from(given: dict[str, Any]) -> dict[str, list[Given]]:
    """All places where the settings of a command stand, those that lose as well."""
    config_file = given.pop("config")
    return all_given(_typed(given), environment=os.environ, directory=os.getcwd(), config_file=config_file)


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """What was typed on this command line."""
    return {name: value for name, value in given.items() if value is not None}


def job_of(command: str, words: tuple[str, ...]) -> str:
    """The one job that was named."""
    if not words:
        raise UsageError(
            f"{command} needs a job", help=f"name a file or a module: {PROGRAM} {command} job.py"
        )
    job, *more = words
    if more:
        raise UsageError(
            f"{command} takes one job, and then {more[0]}",
            help=f"arguments of the job go behind --: {PROGRAM} {command} {job} -- {' '.join(more)}",
        )
    return job

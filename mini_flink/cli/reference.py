"""``docs/configuration.md``, made from the one list of settings; ``config --markdown`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from mini_flink.cli.overview import PROGRAM
from mini_flink.config import OPTIONS, Option

_HEAD = """\
# Settings

All settings of `serve`, by group. Each stands on the command line (`--port 7072`), in a variable
(`MINI_FLINK_PORT=7072`) or in `mini_flink.toml` in the folder in which the server is started
(`port = 7072`; another file: `--config FILE`). The command line wins over the variable, the variable over
the file, the file over the default. What is unknown or out of its limits is refused, with the nearest name
that exists. `{program} config` shows each setting, where its value comes from, and what it
wins over; it takes the options of `serve`.

A switch such as `full_trace` is `--full-trace` or `--no-full-trace`, and `true` or `false` elsewhere. Where
no default is given, the meaning says what happens then.
"""


def configuration() -> str:
    """The whole page."""
    return "\n".join([_HEAD.format(program=PROGRAM), *_groups()])


def _groups() -> Iterator[str]:
    for group in dict.fromkeys(option.group for option in OPTIONS):
        yield f"## {group}\n\n| Setting | Default | Allowed | Meaning |\n|---|---|---|---|"
        yield from (_row(option) for option in OPTIONS if option.group == group)
        yield ""


def _row(option: Option) -> str:
    default = "" if option.default is None else f"`{_plain(option.default)}`"
    cells = (f"`{option.name}`", default, _allowed(option), option.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _allowed(option: Option) -> str:
    if option.type is bool or option.choices:
        return option.allowed
    if option.type is str:
        return "text"
    unit = f" {option.unit}" if option.unit else ""
    return f"{option.minimum} to {option.maximum}{unit}"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

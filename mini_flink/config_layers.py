"""The merge of all places where settings stand: defaults < mini_flink.toml < MINI_FLINK_… < command line.

Owns the order, the refusal of unknown names (with the nearest known one) and the origin of each value, so
that an error can say where the bad value stands. Never decides what a value may be: config.py does.

Called by cli/ only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mini_flink.config import BY_NAME, OPTIONS, VARIABLE_PREFIX, Option, Settings, Source, check
from mini_flink.errors import ConfigError, Location, UsageError
from mini_flink.faults import ONCE_VARIABLE, POINTS_VARIABLE
from mini_flink.suggest import did_you_mean, nearest

CONFIG_FILE = "mini_flink.toml"
CRASH_VARIABLES = frozenset({POINTS_VARIABLE, ONCE_VARIABLE})


class Given(NamedTuple):
    """A value as it was given in one place."""

    value: Any
    origin: str


def resolve(
    command_line: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    directory: str | Path,
    config_file: str | None = None,
) -> Settings:
    """The settings of one start: defaults < file < environment < command line, each value checked.

    ``command_line`` holds only what was given there, by option name. Raises ConfigError for the first value
    that cannot be used, UsageError (exit code 2) if it came from the command line.
    """
    winners = {
        name: given[0]
        for name, given in all_given(
            command_line, environment=environment, directory=directory, config_file=config_file
        ).items()
    }
    values = {name: winner.value for name, winner in winners.items()}
    return Settings(**values, origins={name: winner.origin for name, winner in winners.items()})


def all_given(
    command_line: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    directory: str | Path,
    config_file: str | None = None,
) -> dict[str, list[Given]]:
    """All places where a setting stands, by its name: the one that counts first, then those it wins over.

    Defaults are no such place. Takes and raises what :func:`resolve` does.
    """
    found: dict[str, list[Given]] = {}
    layers = (_from_file(directory, config_file), _from_environment(environment), _from_flags(command_line))
    for layer in layers:
        for option, value, source in layer:
            given = Given(check(option, value, source), source.text)
            found.setdefault(option.name, []).insert(0, given)
    return found


_Layer = Iterable[tuple[Option, Any, Source]]


def _from_flags(command_line: Mapping[str, Any]) -> _Layer:
    for name, value in command_line.items():
        option = BY_NAME[name]
        yield option, value, Source(option.flag, help=_help_for(option.flag), error=UsageError)


def _help_for(flag: str) -> str:
    return f"python -m mini_flink serve --help explains {flag}"


def _from_environment(environment: Mapping[str, str]) -> _Layer:
    by_variable = {option.variable: option for option in OPTIONS}
    for name in sorted(environment):
        if not name.startswith(VARIABLE_PREFIX) or name in CRASH_VARIABLES:
            continue
        if name not in by_variable:
            raise ConfigError(
                f"the environment variable {name} is no option of mini_flink",
                help=_variable_help(name),
            )
        option = by_variable[name]
        yield option, environment[name], Source(name, help=f"unset {name}, or give it such a value")


def _variable_help(name: str) -> str:
    # Compared without the prefix, which would make every variable look like every other.
    match = nearest(name.removeprefix(VARIABLE_PREFIX).lower(), BY_NAME)
    return f"did you mean {BY_NAME[match].variable}?" if match else f"unset {name}"


def _from_file(directory: str | Path, config_file: str | None) -> _Layer:
    path = Path(directory, config_file or CONFIG_FILE)
    if config_file is None and not path.is_file():
        return
    text = _read(path)
    lines = text.splitlines()
    for name, value in _parse(text, path).items():
        location = Location(str(path), _line_of(name, lines), "")
        if name not in BY_NAME:
            raise ConfigError(
                f"{path.name} has an unknown key: {name}",
                help=did_you_mean(name, BY_NAME, otherwise=_help_for("every key")),
                location=location,
            )
        source = f"{path.name}:{location.line}"
        yield BY_NAME[name], value, Source(source, help=f"change {name} in {path}", location=location)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(
            f"no file {path}", help="check --config; it names a TOML file", location=None
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", help="make it a readable UTF-8 file") from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        number = where.removeprefix("line ").split(",")[0]
        line = int(number) if number.isdigit() else max(1, len(text.splitlines()))
        raise ConfigError(
            f"{path.name} is not TOML: {what}",
            help="write one option per line, as in: port = 7071",
            location=Location(str(path), line, ""),
        ) from error


def _line_of(name: str, lines: list[str]) -> int:
    """The line where a top-level key or table stands; 1 where it cannot be told."""
    for number, line in enumerate(lines, start=1):
        key = line.partition("=")[0].strip().strip("[]").split(".")[0].strip().strip("\"'")
        if key == name:
            return number
    return 1

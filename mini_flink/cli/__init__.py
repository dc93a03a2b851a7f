"""The command line: parsing, help, and how errors end a command. The only room that knows click.

Owns the list of commands (one file and one line each), exit codes, colour. Never decides anything that a
command does: it hands resolved settings to a runner.

Called by ``__main__``. ``--help`` and ``--version`` are answered before anything else is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from mini_flink import __version__

# name, module with the click command as ``command``, what it does
COMMANDS = (
    ("serve", "mini_flink.cli.serve", "serve a job over HTTP, with durable per-key state"),
    ("status", "mini_flink.cli.status", "processes, pending requests and counts of a running server"),
    ("dead-letters", "mini_flink.cli.dead_letters", "list the records that failed"),
)
PROGRAM = "python -m mini_flink"
EXIT_USAGE = 2
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised but a bug in here."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _answer(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _answer(words: list[str]) -> int:
    if words in (["--help"], ["-h"], ["help"]):
        print(overview())
        return 0
    if words == ["--version"]:
        print(f"mini_flink {__version__}")
        return 0
    if not words:
        print(overview(), file=sys.stderr)
        return EXIT_USAGE
    return _run(words)


def overview() -> str:
    """The help of the program."""
    commands = "\n".join(f"  {name:<14}{summary}" for name, _, summary in COMMANDS)
    return f"""Usage:   {PROGRAM} COMMAND [OPTIONS]
Example: {PROGRAM} serve job.py --port 7071

A Flink DataStream job behind HTTP: durable per-key state, exactly once, one command.

Commands
{commands}

Options
  --version     print the version
  --help        print this, or the options of a command: {PROGRAM} serve --help

Without a JOB, `{PROGRAM} serve` serves a small event service to try:
  curl localhost:7071/event -X POST -d '{{"request":"hello"}}'

Exit codes: 0 done, 2 wrong option, 69 no server answers, 70 a bug in mini_flink,
74 storage unreadable or full, 75 port or folder in use, 78 job or setting unusable."""


def _run(words: list[str]) -> int:
    from mini_flink.cli.parsing import run
    from mini_flink.errors import MiniFlinkError
    from mini_flink.failures import render_error

    try:
        return run(words)
    except MiniFlinkError as error:
        sys.stderr.write(render_error(error, colour=is_coloured(sys.stderr)))
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception:  # this process's main: whatever comes here is our mistake
        import traceback

        traceback.print_exc()
        sys.stderr.write("error: this is a bug in mini_flink, please report it with the lines above\n")
        return EXIT_INTERNAL


def is_coloured(stream: TextIO) -> bool:
    """Colour only for a terminal that wants it; FORCE_COLOR and NO_COLOR decide otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"

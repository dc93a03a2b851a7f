"""The command line: parsing, help, and how errors end a command. The only room that knows click.

Owns exit codes and colour; a command is one file here and one line in ``overview``. Never decides what a
command does: that is a runner's, which gets resolved settings.

Called by ``__main__``. ``--help`` and ``--version`` are answered before anything else is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from mini_flink import __version__
from mini_flink.cli.overview import COMPLETE_VARIABLE, overview

if TYPE_CHECKING:
    from mini_flink.errors import MiniFlinkError

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised but a bug in here."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
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
    if words in (["--help"], ["-h"]):
        print(overview())
        return 0
    if words == ["--version"]:
        print(f"mini_flink {__version__}")
        return 0
    if not words and COMPLETE_VARIABLE in os.environ:
        from mini_flink.cli.completion import answer

        return answer(os.environ[COMPLETE_VARIABLE])
    if not words:
        from mini_flink.errors import EXIT_USAGE

        print(overview(), file=sys.stderr)
        return EXIT_USAGE
    return _run(words)


def _run(words: list[str]) -> int:
    from mini_flink import console
    from mini_flink.cli.parsing import run
    from mini_flink.errors import EXIT_INTERNAL, MiniFlinkError

    if words[0] == "serve":  # what is refused before the settings are known is read by the same program
        console.choose(_log_of(words), os.environ)
    try:
        return run(words)
    except MiniFlinkError as error:
        show_error(error)
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception:  # this process's main: whatever comes here is our mistake
        import traceback

        if console.is_json():
            said = f"this is a bug in mini_flink, please report it\n{traceback.format_exc()}"
            console.event("error", said, name="process.crashed")
            return EXIT_INTERNAL
        traceback.print_exc()
        sys.stderr.write("error: this is a bug in mini_flink, please report it with the lines above\n")
        return EXIT_INTERNAL


def show_error(error: MiniFlinkError) -> None:
    """What keeps a command from its work, to a person or a program."""
    from mini_flink import console
    from mini_flink.failures import render_error

    if console.is_json():
        kind, code = type(error).__name__, error.exit_code
        console.event("error", render_error(error), name="start.refused", error=kind, exit_code=code)
    else:
        sys.stderr.write(render_error(error, colour=is_coloured(sys.stderr)))


def _log_of(words: Sequence[str]) -> str:
    """What the setting ``log`` will be, as far as can be told without the file."""
    log = os.environ.get("MINI_FLINK_LOG", "auto")
    ours = words[: words.index("--")] if "--" in words else words
    for word, following in zip(ours, [*ours[1:], ""], strict=True):
        if word == "--log":
            log = following
        elif word.startswith("--log="):
            log = word.removeprefix("--log=")
    return log


def is_coloured(stream: TextIO) -> bool:
    """Colour only for a terminal that wants it; FORCE_COLOR and NO_COLOR decide otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"

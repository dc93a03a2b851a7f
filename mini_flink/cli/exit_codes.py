"""How commands end: one table, shown in ``--help`` and in ``docs/command-line.md``. Imports nothing."""

from __future__ import annotations

# code, in a word or two, what it means and what to do
EXIT_CODES = (
    (0, "done", "Done; of `serve`: stopped in good order."),
    (1, "declined", "A question was answered with no: nothing was done."),
    (2, "wrong option", "A command or an option is unknown or malformed. Correct the command line."),
    (
        3,
        "not all is served",
        "Of `status`: a process is being started again, or nobody is let in. See `top`.",
    ),
    (69, "no server answers", "No server runs on this data folder, or it does not answer. Start it."),
    (70, "a bug in mini_flink", "Please report it with the lines above."),
    (74, "storage unreadable or full", "A file cannot be read or written. Make room, or look at the disk."),
    (
        75,
        "port or folder in use",
        "Someone else has the port or the folder, or what the server is at must end first. Try again later.",
    ),
    (78, "job or setting unusable", "The job, a setting, the folder or a snapshot cannot be used as it is."),
    (
        130,
        "Ctrl-C",
        "Stopped by Ctrl-C; of `serve`: by a second one. What was answered is safe all the same.",
    ),
    (141, "output closed", "Whoever read the output has left, as `head` does."),
)
IN_HELP = (0, 2, 69, 70, 74, 75, 78)
"""The codes that a script meets every day."""


def in_help() -> str:
    """The everyday codes in two lines."""
    words = [f"{code} {short}" for code, short, _ in EXIT_CODES if code in IN_HELP]
    return f"Exit codes: {', '.join(words[:4])},\n{', '.join(words[4:])}"

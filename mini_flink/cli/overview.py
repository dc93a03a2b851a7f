"""Which commands there are, and the program's own help, which is answered before anything is imported."""

from __future__ import annotations

# name, module with the click command as ``command``, what it does
COMMANDS = (
    ("serve", "mini_flink.cli.serve", "serve a job over HTTP, with durable per-key state"),
    ("check", "mini_flink.cli.check", "show a job's steps and states, and what would become of stored state"),
    ("status", "mini_flink.cli.status", "processes, pending requests and counts of a running server"),
    ("rescale", "mini_flink.cli.rescale", "give a running server more or fewer workers"),
    ("upgrade", "mini_flink.cli.upgrade", "give a running server a new version of its job"),
    ("savepoint", "mini_flink.cli.savepoint", "take a snapshot of a running server, to keep"),
    ("dead-letters", "mini_flink.cli.dead_letters", "list, show, retry and drop the records that failed"),
    ("snapshot", "mini_flink.cli.snapshot", "list, show and verify snapshots"),
)
PROGRAM = "python -m mini_flink"


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

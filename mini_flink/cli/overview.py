"""Which commands there are, and the program's own help, which is answered before anything is imported."""

from __future__ import annotations

from mini_flink.cli.exit_codes import in_help

# name, module with the click command as ``command``, what it does
COMMANDS = (
    ("serve", "mini_flink.cli.serve", "serve a job over HTTP, with durable per-key state"),
    ("check", "mini_flink.cli.check", "show a job's steps and states, and what would become of stored state"),
    ("graph", "mini_flink.cli.graph", "draw how records flow through a job: text, Mermaid, SVG, JSON"),
    ("status", "mini_flink.cli.status", "processes, pending requests and counts of a running server"),
    ("top", "mini_flink.cli.top", "the server live in the terminal: verdict, operators, processes"),
    ("config", "mini_flink.cli.config", "each setting, and where its value comes from"),
    ("state", "mini_flink.cli.state", "what is in keyed state: of a key, or page by page"),
    ("dead-letters", "mini_flink.cli.dead_letters", "list, show, retry and drop the records that failed"),
    ("snapshot", "mini_flink.cli.snapshot", "list, show and verify snapshots"),
    ("rescale", "mini_flink.cli.rescale", "give a running server more or fewer workers"),
    ("upgrade", "mini_flink.cli.upgrade", "give a running server a new version of its job"),
    ("drain", "mini_flink.cli.drain", "take no more requests, and answer those in flight"),
    ("resume", "mini_flink.cli.resume", "take requests again after a drain"),
    ("savepoint", "mini_flink.cli.savepoint", "take a snapshot of a running server, to keep"),
    ("systemd", "mini_flink.cli.systemd", "install a job as a service of systemd"),
    ("monitoring", "mini_flink.cli.monitoring", "a dashboard for Grafana, alert rules for Prometheus"),
    ("init", "mini_flink.cli.init", "make a new project: a job that serves, and its test"),
    ("completion", "mini_flink.cli.completion", "have the shell complete commands and options"),
)
BEGINS = {"serve": "Run", "status": "Inspect", "rescale": "Operate", "init": "Learn"}
"""The command with which a group of the list begins, and the group's name."""
PROGRAM = "python -m mini_flink"
COMPLETE_VARIABLE = "_MINI_FLINK_COMPLETE"
"""By which a shell asks what could be typed next."""


def overview() -> str:
    """The help of the program."""
    commands = "\n".join(f"  {BEGINS.get(name, ''):<9}{name:<14}{text}" for name, _, text in COMMANDS)
    return f"""Usage:   {PROGRAM} COMMAND [OPTIONS]
Example: {PROGRAM} serve job.py --port 7071

A Flink DataStream job behind HTTP: durable per-key state, exactly once, one command.

{commands}

`{PROGRAM} serve --help` explains a command, --version prints the version;
`serve JOB --dev` reloads it on save. Without a JOB, `serve` serves a small event service to try:
  curl localhost:7071/event -X POST -d '{{"request":"hello"}}'

{in_help()}"""

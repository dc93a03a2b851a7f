"""``upgrade JOB [--probe REQUEST]``: new code for a running server, which must prove itself first."""

from __future__ import annotations

from typing import Any

import click

from mini_flink.cli.changing import change, waited, wanted_workers
from mini_flink.cli.output import print_json
from mini_flink.cli.overview import PROGRAM
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import UsageError


class UpgradeCommand(Command):
    usage = "JOB [OPTIONS] [-- ARGS]"
    example = """upgrade job.py --probe 'POST /total {"key":"probe","amount":0}'"""
    takes_job_args = True


@click.command(
    "upgrade",
    cls=UpgradeCommand,
    help="Go on with JOB, a newer version, on the same state; on failure the old one goes on.",
)
@options_of("upgrade")
@click.argument("words", nargs=-1)
@click.option(
    "--probe",
    metavar="REQUEST",
    help="METHOD PATH [BODY]: answered below 400 on state that is thrown away, or nothing changes",
)
@click.option("--allow-dropped-state", is_flag=True, help="let go of state that JOB declares no more")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
@click.pass_context
def command(
    context: click.Context,
    /,
    words: tuple[str, ...],
    probe: str | None,
    allow_dropped_state: bool,
    as_json: bool,
    **given: Any,
) -> int:
    settings = settings_from(given)
    if len(words) != 1:
        raise UsageError("upgrade takes one job", help=f"{PROGRAM} upgrade job.py")
    data_dir = data_dir_of(settings, "upgrade")
    # Imported late: --help and a wrong option need no job and no server.
    from mini_flink.jobs import JobTarget

    question = {
        "job": JobTarget.parse(words[0], context.meta.get("job_args", ())).as_dict(),
        "workers": wanted_workers(settings),
        "probe": None if probe is None else _request(probe),
        "allow_dropped_state": allow_dropped_state,
    }
    changed = change(data_dir, "upgrade", question)
    if as_json:
        print_json(changed)
    else:
        print(f"upgraded; {waited(changed)}")
    return 0


def _request(text: str) -> dict[str, Any]:
    method, _, rest = text.strip().partition(" ")
    path, _, body = rest.strip().partition(" ")
    if not method.isalpha() or not path.startswith("/"):
        raise UsageError(
            f"--probe {text!r} is not METHOD PATH [BODY]", help="""as in --probe 'GET /total/ann'"""
        )
    return {"method": method.upper(), "path": path, "body": body.encode(), "headers": {}}

"""``status --data-dir D [--json]``: what a running server says of itself; exit code 3 if not all serve."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from mini_flink import units
from mini_flink.cli.output import fit, print_json, table, terminal_width
from mini_flink.cli.parsing import Command, options_of, settings_from
from mini_flink.cli.reading import data_dir_of
from mini_flink.errors import EXIT_DEGRADED

SHOWN_EVENTS = 5


class StatusCommand(Command):
    example = "status --data-dir .mini_flink/running-total --json"


@click.command(
    "status",
    cls=StatusCommand,
    help="Processes, requests, state and the last error of the server of a data folder; live: top.",
)
@options_of("status")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(as_json: bool, **given: Any) -> int:
    data_dir = data_dir_of(settings_from(given), "status")
    from mini_flink.asking import query  # once the command line is known to be right

    report = query(data_dir)
    if as_json:
        print_json(report)
    else:
        width = terminal_width()
        for line in lines(report, time.time_ns() // 1_000_000, width):
            print(fit(line, width))
    return 0 if serves(report) else EXIT_DEGRADED


def serves(report: Mapping[str, Any]) -> bool:
    """Whether everybody is let in and every process is there; also while it is rescaled or upgraded."""
    state = str(report["state"])
    return state == "serving" or state.startswith("serving (")


def lines(report: Mapping[str, Any], now_ms: int, width: int | None) -> Iterator[str]:
    """The report for people."""
    up = units.duration(report["uptime_ms"] / 1000)
    yield f"{report['job']}   {report['state']}   up {up}   {report['url']}"
    for name, value in _facts(report, now_ms):
        yield f"  {name:<11}{value}"
    yield ""
    yield from table([_process(each) for each in report["processes"]], width=width, indent="  ")
    yield ""
    yield from table([_operator(each) for each in report["operators"]], width=width, indent="  ")
    if report["events"]:
        yield ""
        yield from table(
            [_event(each) for each in report["events"][-SHOWN_EVENTS:]], width=width, indent="  "
        )


def _facts(report: Mapping[str, Any], now_ms: int) -> Iterator[tuple[str, str]]:
    counts = report["totals"]
    yield (
        "requests",
        (
            f"{units.exact(counts['answered'])} answered   {units.exact(report['pending'])} in flight   "
            f"{units.exact(counts['refused'])} refused   {units.exact(counts['timed_out'])} timed out"
        ),
    )
    yield "last error", _last_error(report["last_failure"], now_ms)
    yield "state", f"{report['data_dir']}   {report['durability']}{_restored(report['restored'])}"
    yield "snapshots", _snapshots(report["snapshots"], now_ms)
    yield "page", report["admin_url"] or "off: the setting admin"


def _last_error(failure: Mapping[str, Any] | None, now_ms: int) -> str:
    if failure is None:
        return "none in this run"
    ago = units.duration(max(0, now_ms - failure["failed_ms"]) / 1000)
    place = f" ({failure['place']})" if failure["place"] else ""
    said = f"{failure['error']} in {failure['operator']}{place}, {ago} ago"
    return units.plain(f"{said}   dead-letters show {failure['error_id']}")


def _restored(restored: Mapping[str, Any] | None) -> str:
    return f"   restored from {restored['snapshot']} ({restored['reason']})" if restored else ""


def _snapshots(facts: Mapping[str, Any], now_ms: int) -> str:
    last, every = facts["last"], facts["interval_s"]
    said = f"{facts['completed']} complete, {facts['failed']} failed"
    said += f", every {units.duration(every)}" if every else ", none by themselves"
    if last is not None:
        ago = units.duration(max(0, now_ms - last["created_ms"]) / 1000)
        said += f"   last {ago} ago, {units.size(last['total_bytes'])}"
    if facts["held_up"]:
        said += f"   one is due and waits: {facts['held_up']}"
    if facts["last_failure"]:
        said += f"   last failure: {facts['last_failure']}"
    return units.plain(said)


def _process(process: Mapping[str, Any]) -> dict[str, Any]:
    is_single = process["role"] in ("supervisor", "admin")
    return {
        "process": process["role"] if is_single else f"{process['role']} {process['index']}",
        "pid": process["pid"],
        "state": process["state"],
        "restarts": process["restarts"],
        "pending": process["counters"].get("pending"),
        "last_exit": process["last_exit"] or None,
    }


def _operator(operator: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: operator[name] for name in ("in", "out", "failed")}
    return {"operator": operator["uid"], "name": operator["name"], **numbers}


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {"at": units.clock(event["ts"]), "event": event["kind"], "what": event["text"]}

"""``monitoring dashboard|alerts|prometheus|write``: what Prometheus and Grafana are given."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from mini_flink.cli.overview import PROGRAM
from mini_flink.cli.parsing import Command, Group


@click.group(
    "monitoring", cls=Group, no_args_is_help=False, help="A dashboard for Grafana, alerts for Prometheus."
)
def command() -> None:
    """Holds the commands below."""


def _target(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--target", metavar="HOST:PORT", default="127.0.0.1:7072", help="the server's page [127.0.0.1:7072]"
    )(function)


class DashboardCommand(Command):
    example = "monitoring dashboard > dashboard.json"


@command.command("dashboard", cls=DashboardCommand, help="Print the dashboard that Grafana imports.")
def dashboard_command() -> int:
    from mini_flink.monitoring import dashboard  # once the command line is known to be right

    sys.stdout.write(dashboard.text())
    return 0


class AlertsCommand(Command):
    example = "monitoring alerts > alerts.yml"


@command.command("alerts", cls=AlertsCommand, help="Print the alert rules for Prometheus.")
def alerts_command() -> int:
    from mini_flink.monitoring import files

    sys.stdout.write(files.alerts())
    return 0


class PrometheusCommand(Command):
    example = "monitoring prometheus --target 10.0.0.7:7072 > prometheus.yml"


@command.command("prometheus", cls=PrometheusCommand, help="Print a configuration for Prometheus.")
@_target
def prometheus_command(target: str) -> int:
    from mini_flink.monitoring import files

    sys.stdout.write(files.prometheus(target))
    return 0


class WriteCommand(Command):
    usage = "DIR [OPTIONS]"
    example = "monitoring write /etc/prometheus"


@command.command("write", cls=WriteCommand, help="Write all three into the folder DIR.")
@_target
@click.option("--force", is_flag=True, help="write files anew that say something else")
@click.argument("folder", metavar="DIR")
def write_command(folder: str, target: str, force: bool) -> int:
    from mini_flink.monitoring.files import DASHBOARD, RUNBOOK, write

    written = write(folder, target, force=force)
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("everything is there already")
    print(f"\nnext\n  prometheus --config.file={folder}/prometheus.yml")
    print(f"  in Grafana: Dashboards, New, Import, {folder}/{DASHBOARD}")
    print(f"  what an alert means: {RUNBOOK}; {PROGRAM} monitoring --help")
    return 0

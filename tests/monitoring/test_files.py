"""What is shipped for Prometheus and Grafana is well formed, by the words of their own tools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mini_flink.monitoring import dashboard, files
from tests.cli.test_commands import refused, run

PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool")


def promtool(*words: str, cwd: Path) -> str:
    done = subprocess.run([str(PROMTOOL), *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(files.alerts())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@needs_promtool
def test_what_is_written_is_taken_by_prometheus(tmp_path: Path) -> None:
    done = run("monitoring", "write", str(tmp_path / "monitoring"), "--target", "10.0.0.7:7072")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "monitoring"
    assert f"{len(rules())} rules found" in promtool("check", "config", "prometheus.yml", cwd=folder)
    assert "10.0.0.7:7072" in (folder / "prometheus.yml").read_text()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    page, _, place = rule["annotations"]["runbook"].partition("#")
    assert f"### {rule['alert']}" in Path(page).read_text()
    assert (Path(page).is_absolute(), place) == (True, rule["alert"].lower())


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 30
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= dashboard.COLUMNS
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_every_query_goes_by_the_chosen_jobs_and_instances() -> None:
    shown = dashboard.dashboard()
    names = {variable["name"] for variable in shown["templating"]["list"]}
    assert names == {"datasource", "job", "instance"}
    assert shown["schemaVersion"] >= 36
    for panel in shown["panels"]:
        for target in panel.get("targets", ()):
            selectors = re.findall(r"mini_flink_\w+\{|\{__name__", target["expr"])
            chosen = target["expr"].count('job=~"$job", instance=~"$instance"}')
            assert len(selectors) == chosen >= 1, target["expr"]


def test_each_is_printed() -> None:
    assert json.loads(run("monitoring", "dashboard").stdout) == dashboard.dashboard()
    assert run("monitoring", "alerts").stdout == files.alerts()
    assert run("monitoring", "prometheus").stdout == files.prometheus()


def test_what_was_edited_is_not_replaced_unasked(tmp_path: Path) -> None:
    write = ("monitoring", "write", str(tmp_path))
    run(*write)
    assert "everything is there already" in run(*write).stdout
    edited = tmp_path / files.ALERTS
    edited.write_text("mine")
    assert str(edited) in "\n".join(refused(run(*write), 75))
    assert edited.read_text() == "mine"
    assert f"wrote {edited}" in run(*write, "--force").stdout
    assert edited.read_text() == files.alerts()


@pytest.mark.parametrize("target", ["here", "here:", "a b:1", '1.2.3.4:5"'])
def test_a_target_is_an_address(target: str) -> None:
    assert "HOST:PORT" in "\n".join(refused(run("monitoring", "prometheus", "--target", target), 2))

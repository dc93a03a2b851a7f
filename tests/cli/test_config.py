"""``config``: each setting, where it came from, and what it won over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mini_flink.cli.config import as_data, lines
from mini_flink.config import BY_NAME, OPTIONS
from mini_flink.config_layers import Given
from tests.cli.test_commands import refused, run


def test_winner_and_losers_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "mini_flink.toml").write_text("# ours\nhost = '0.0.0.0'\nport = 7070\n")
    done = run("config", "--port", "7072", cwd=tmp_path, MINI_FLINK_PORT="7071", MINI_FLINK_WORKERS="2")
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines() if line}
    assert (done.returncode, done.stderr) == (0, "")
    assert shown["port"] == (
        "7072 from --port (over MINI_FLINK_PORT=7071, mini_flink.toml:3=7070, default 7071)"
    )
    assert shown["host"] == "0.0.0.0 from mini_flink.toml:2 (over default 127.0.0.1)"
    assert shown["workers"] == "2 from MINI_FLINK_WORKERS (over default –)"
    assert shown["data_dir"] == "– default"
    assert shown["batch_ms"] == "10 ms default"
    assert {option.name for option in OPTIONS} <= set(shown)


def test_the_same_for_programs(tmp_path: Path) -> None:
    done = run("config", "--json", "--no-full-trace", cwd=tmp_path, MINI_FLINK_BATCH_MS="20")
    settings = json.loads(done.stdout)["settings"]
    assert list(settings) == [option.name for option in OPTIONS]
    assert settings["batch_ms"] == {
        "value": 20,
        "origin": "MINI_FLINK_BATCH_MS",
        "over": [{"value": 10, "origin": "default"}],
        "unit": "ms",
    }
    assert (settings["full_trace"]["value"], settings["full_trace"]["origin"]) == (False, "--full-trace")


def test_a_bad_loser_is_refused_as_by_serve(tmp_path: Path) -> None:
    lines = refused(run("config", "--port", "1", cwd=tmp_path, MINI_FLINK_PORT="x"), 78)
    assert "from MINI_FLINK_PORT" in lines[0]


def test_a_secret_is_never_shown() -> None:
    secret = replace(BY_NAME["snapshot_dir"], secret=True)
    places = [Given("hunter2", "MINI_FLINK_X"), Given("hunter1", "mini_flink.toml:1"), Given(None, "default")]
    [_, line] = lines({secret: places})
    assert line.split()[1:5] == ["(set)", "from", "MINI_FLINK_X", "(over"]
    assert line.endswith("(over mini_flink.toml:1=(set), default –)")
    assert "hunter" not in json.dumps(as_data(secret, places))
    assert as_data(secret, places[2:])["value"] is None

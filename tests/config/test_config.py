"""The list of options, the merge of the places where they stand, and what is said about a bad one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mini_flink.config import BY_NAME, OPTIONS, Settings
from mini_flink.config_layers import resolve
from mini_flink.errors import EXIT_CONFIG, EXIT_USAGE, ConfigError, UsageError

PACKAGE = Path(__file__).parents[2] / "mini_flink"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_documented(option):
    assert len(option.meaning) > 10
    assert option.commands
    assert option.group
    assert hasattr(Settings(), option.name)
    if option.type is int:
        assert option.minimum is not None
        assert option.maximum is not None
    if option.name.endswith(("_ms", "_bytes")):
        assert option.unit == option.name.rsplit("_", 1)[1]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_defaults_are_within_their_own_limits(option):
    if option.default is not None:
        text = str(option.default).lower() if option.type is bool else str(option.default)
        settings = resolve({}, environment={option.variable: text}, directory="/nowhere")
        assert getattr(settings, option.name) == option.default


def test_none_is_the_default_only_where_the_meaning_says_what_happens_then():
    for option in OPTIONS:
        if option.default is None:
            assert "else" in option.meaning, option.name


def test_the_defaults_of_the_contract():
    settings = Settings()
    assert (settings.host, settings.port, settings.durability) == ("127.0.0.1", 7071, "disk")
    assert (settings.pending_capacity, settings.request_timeout_ms) == (1024, 10_000)
    assert (settings.max_body_bytes, settings.max_header_bytes) == (1 << 20, 32 << 10)


def test_later_layers_win_and_origins_are_remembered(tmp_path):
    (tmp_path / "mini_flink.toml").write_text(
        "# a comment\nport = 1001\nhost = '0.0.0.0'\nworkers = 3\nfull_trace = true\n"
    )
    environment = {"MINI_FLINK_PORT": "1002", "MINI_FLINK_HOST": "::1", "HOME": "/root"}
    settings = resolve({"port": "1003"}, environment=environment, directory=tmp_path)
    assert (settings.port, settings.host, settings.workers) == (1003, "::1", 3)
    assert settings.full_trace is True
    assert settings.gateways is None
    origins = [settings.origin(name) for name in ("port", "host", "workers", "gateways")]
    assert origins == ["--port", "MINI_FLINK_HOST", "mini_flink.toml:4", "default"]


def test_settings_survive_json():
    settings = resolve({"workers": "2", "data_dir": "/d"}, environment={}, directory="/nowhere")
    back = Settings.from_dict(json.loads(json.dumps(settings.as_dict())))
    assert back == settings
    assert back.origin("workers") == "--workers"


def test_handed_over_settings_are_checked():
    with pytest.raises(ConfigError, match="unknown setting 'prot'"):
        Settings.from_dict({"prot": 1})
    with pytest.raises(ConfigError, match="port = 'abc'"):
        Settings.from_dict({"port": "abc"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "abc"),
        ("port", "-1"),
        ("port", "65536"),
        ("port", ""),
        ("port", "1.5"),
        ("workers", "0"),
        ("durability", "dsk"),
        ("full_trace", "maybe"),
        ("data_dir", ""),
    ],
)
def test_a_bad_value_names_option_value_origin_and_what_is_allowed(name, text):
    option = BY_NAME[name]
    with pytest.raises(ConfigError) as caught:
        resolve({}, environment={option.variable: text}, directory="/nowhere")
    assert caught.value.message == f"{name} = {text!r} (from {option.variable}) must be {option.allowed}"
    assert caught.value.exit_code == EXIT_CONFIG
    assert option.variable in caught.value.help


def test_a_bad_value_on_the_command_line_is_wrong_usage():
    with pytest.raises(UsageError, match=r"port = 'abc' \(from --port\)") as caught:
        resolve({"port": "abc"}, environment={}, directory="/nowhere")
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("port = true", "port = True"),
        ("port = 7071.0", "port = 7071.0"),
        ("full_trace = 1", "full_trace = 1"),
        ("data_dir = 5", "data_dir = 5"),
        ("port = [1]", "port = [1]"),
    ],
)
def test_a_value_of_another_type_in_the_file_names_its_line(tmp_path, line, said):
    (tmp_path / "mini_flink.toml").write_text(f"\n\n{line}\n")
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        resolve({}, environment={}, directory=tmp_path)
    assert str(caught.value.location) == f"{tmp_path}/mini_flink.toml:3"


@pytest.mark.parametrize(
    ("content", "line", "help_part"),
    [
        ("host = 'a'\nprot = 1\n", 2, "did you mean port?"),
        ("data-dir = 'x'\n", 1, "did you mean data_dir?"),
        ("\n[serve]\nport = 1\n", 2, ""),
    ],
)
def test_an_unknown_key_is_refused_with_its_line(tmp_path, content, line, help_part):
    (tmp_path / "mini_flink.toml").write_text(content)
    with pytest.raises(ConfigError, match="unknown key") as caught:
        resolve({}, environment={}, directory=tmp_path)
    assert caught.value.location.line == line
    assert help_part in caught.value.help


@pytest.mark.parametrize(("content", "line"), [("port = 1\nhost =\n", 2), ("a = 1\nb = [1,\n", 2)])
def test_a_file_that_is_no_toml_names_the_line(tmp_path, content, line):
    (tmp_path / "mini_flink.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"mini_flink\.toml is not TOML") as caught:
        resolve({}, environment={}, directory=tmp_path)
    assert caught.value.location.line == line


def test_another_file_can_be_named_and_must_be_there(tmp_path):
    (tmp_path / "mini_flink.toml").write_text("port = 1")
    (tmp_path / "other.toml").write_text("port = 2")
    found = resolve({}, environment={}, directory=tmp_path, config_file="other.toml")
    assert found.port == 2
    with pytest.raises(UsageError, match="no file"):
        resolve({}, environment={}, directory=tmp_path, config_file="missing.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "mini_flink.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve({}, environment={}, directory=tmp_path)


@pytest.mark.parametrize(
    ("variable", "help_"),
    [
        ("MINI_FLINK_PROT", "did you mean MINI_FLINK_PORT?"),
        ("MINI_FLINK_XYZZY", "unset MINI_FLINK_XYZZY"),
    ],
)
def test_an_unknown_variable_is_refused(variable, help_):
    with pytest.raises(ConfigError, match=variable) as caught:
        resolve({}, environment={variable: "1"}, directory="/nowhere")
    assert caught.value.help == help_


def test_variables_of_crash_points_are_no_options():
    resolve({}, environment={"MINI_FLINK_CRASH": "before_send"}, directory="/nowhere")


def test_every_option_is_used_by_the_code():
    """An option that nobody reads is a promise that nobody keeps."""
    sources = [path.read_text() for path in PACKAGE.rglob("*.py") if not path.name.startswith("config")]
    unused = [one.name for one in OPTIONS if not any(re.search(rf"\.{one.name}\b", text) for text in sources)]
    assert unused == []


def test_importing_the_settings_is_cheap():
    code = (
        "import sys; import mini_flink.config; "
        "print(sorted({'click', 'tomllib', 'difflib', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

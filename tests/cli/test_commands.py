"""The command line as a shell sees it: help, exit codes, what is said about a mistake."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mini_flink import __version__, units
from mini_flink.cli.output import print_report, print_table, table
from mini_flink.cli.overview import BEGINS, COMMANDS
from mini_flink.config import OPTIONS

ROOT = Path(__file__).parents[2]
SPOILERS = ("MINI_FLINK_", "NO_COLOR", "FORCE_COLOR")


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SPOILERS)}
    return {**kept, "PYTHONPATH": str(ROOT), "MINI_FLINK_LOG": "text", **extra}


def run(*words: str, cwd: Path = ROOT, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mini_flink", *words]
    return subprocess.run(
        command, cwd=cwd, env=environment(**extra), capture_output=True, text=True, timeout=30
    )


def main_with(setup: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same main in a process that was prepared first: another platform, other runners."""
    code = f"import sys\n{setup}\nfrom mini_flink.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=30)


RUNNERS = """
import types
def runner(name, **functions):
    module = types.ModuleType("mini_flink." + ("" if name == "asking" else "runners.") + name)
    module.__dict__.update(functions)
    sys.modules.setdefault("mini_flink.runners", types.ModuleType("mini_flink.runners"))
    sys.modules[module.__name__] = module
def raising(error):
    raise error
runner("arrival", Arrival=lambda *options: options)
"""


def refused(done: subprocess.CompletedProcess[str], code: int) -> list[str]:
    """The lines of an error; checks what holds for every one."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert lines[0].startswith("error: ")
    assert lines[-1].startswith("  = help: ")
    assert len(lines) <= 8
    return lines


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_the_help_of_the_program(words):
    done = run(*words)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) <= 30
    assert "python -m mini_flink serve job.py" in "\n".join(lines[:2])
    assert all(len(line) <= 100 for line in lines)
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in BEGINS.values()] == [
        *BEGINS.values()
    ]
    for name, _, _ in COMMANDS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["check"],
        ["status"],
        ["dead-letters"],
        ["dead-letters", "list"],
        ["state"],
        ["state", "get"],
        ["state", "scan"],
    ],
)
def test_the_help_of_a_command_begins_with_an_example(words):
    done = run(*words, "--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith(f"Usage:   python -m mini_flink {' '.join(words)}")
    assert lines[1].startswith(f"Example: python -m mini_flink {' '.join(words)}")
    assert all(len(line) <= 110 for line in lines)


def test_the_help_of_serve_has_every_option_with_meaning_and_default():
    shown = run("serve", "--help").stdout
    for option in OPTIONS:
        line = next(line for line in shown.splitlines() if line.startswith(f"  {option.flag} "))
        assert option.meaning in line
        if option.default not in (None, False):
            assert line.endswith("]")


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys\nfrom mini_flink.cli import main\nmain(['--help'])\nmain(['--version'])\n"
        "print({'click', 'dataclasses', 'zmq', 'mini_flink.errors'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30
    )
    assert done.stdout.endswith("set()\n")


def test_the_version():
    assert run("--version").stdout == f"mini_flink {__version__}\n"


def test_without_a_command_the_help_goes_to_stderr():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage:")


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["srve"], "unknown command srve", "did you mean serve?"),
        (["xyzzy"], "unknown command xyzzy", "commands: serve, check, "),
        (["job.py"], "unknown command job.py", "did you mean python -m mini_flink serve job.py?"),
        (["serve", "--prot", "1"], "unknown option --prot for serve", "did you mean --port?"),
        (["serve", "--prot=1"], "unknown option --prot for serve", "did you mean --port?"),
        (["serve", "--por", "1"], "unknown option --por for serve", "did you mean --port?"),
        (["serve", "--zzz"], "unknown option --zzz for serve", "serve --help"),
        (["status", "--jsn"], "unknown option --jsn for status", "did you mean --json?"),
        (["status", "--port", "1"], "unknown option --port for status", "status --help"),
        (["--verison"], "unknown option --verison for mini_flink", "did you mean --version?"),
        (["serve", "--port"], "Option '--port' requires an argument", "serve --help"),
        (["serve", "--port", "x"], "port = 'x' (from --port)", "--port"),
        (["serve", "--durability", "dsk"], "must be disk or process", "--durability"),
        (["serve", "a.py", "b"], "serve takes one job, and then b", "serve a.py -- b"),
        (["serve", "--config", "no.toml"], "no file", "--config"),
        (["dead-letters", "lst"], "unknown command lst", "did you mean list?"),
        (["dead-letters"], "Missing command", "dead-letters --help"),
        (["status"], "status needs --data-dir", "--data-dir .mini_flink/<job>"),
    ],
)
def test_wrong_usage_says_what_to_type(tmp_path, words, what, remedy):
    lines = refused(run(*words, cwd=tmp_path), 2)
    assert what in lines[0]
    assert remedy in lines[-1]


def test_a_bad_key_in_the_file_shows_the_line(tmp_path):
    (tmp_path / "mini_flink.toml").write_text("host = 'x'\nprot = 7071\n")
    lines = refused(run("serve", cwd=tmp_path), 78)
    assert lines == [
        "error: mini_flink.toml has an unknown key: prot",
        "  --> mini_flink.toml:2",
        "  |",
        "2 | prot = 7071",
        "  = help: did you mean port?",
    ]


def test_a_bad_variable(tmp_path):
    assert "MINI_FLINK_PORT" in refused(run("serve", cwd=tmp_path, MINI_FLINK_PORT="x"), 78)[0]
    lines = refused(run("serve", cwd=tmp_path, MINI_FLINK_PROT="1"), 78)
    assert "did you mean MINI_FLINK_PORT?" in lines[-1]


def test_serve_hands_over_settings_and_job(tmp_path):
    setup = RUNNERS + (
        "import json\nrunner('server', serve=lambda settings, job, arrival: print(json.dumps("
        "[settings.as_dict(), job.as_dict(), arrival])) or 7)"
    )
    words = ["--port", "0", "shop.py", "--full-trace", "--", "--port", "9", "--", "x"]
    done = main_with(setup, "serve", *words, cwd=tmp_path)
    settings, job, arrival = json.loads(done.stdout)
    assert (done.returncode, arrival) == (7, [None, False, False])
    assert (settings["port"], settings["full_trace"], settings["workers"]) == (0, True, None)
    assert settings["origins"] == {
        "port": "--port",
        "full_trace": "--full-trace",
        "log": "MINI_FLINK_LOG",
    }
    assert job == {
        "target": "shop.py",
        "is_module": False,
        "args": ["--port", "9", "--", "x"],
        "directory": str(tmp_path),
    }
    words = ["--no-full-trace", "--restore", "latest", "--yes", "--allow-dropped-state"]
    _, job, arrival = json.loads(main_with(setup, "serve", *words, cwd=tmp_path).stdout)
    assert (job["target"], job["is_module"]) == ("mini_flink.examples.event_service", True)
    assert arrival == ["latest", True, True]


def test_serve_needs_linux_and_says_what_runs_elsewhere(tmp_path):
    lines = refused(main_with("sys.platform = 'darwin'", "serve", "job.py", cwd=tmp_path), 78)
    assert lines[0] == "error: serve needs Linux, this is darwin"
    assert lines[-1].endswith("python job.py")


def test_status_where_no_server_runs(tmp_path):
    (tmp_path / ".mini_flink" / "shop").mkdir(parents=True)  # the only folder there is
    lines = refused(run("status", cwd=tmp_path), 69)
    assert lines[0] == "error: no server runs on .mini_flink/shop"
    assert lines[-1].endswith("serve JOB --data-dir .mini_flink/shop")


def test_dead_letters(tmp_path):
    letters = [{"error_id": "7F3K2", "operator": "total", "key": "k1", "error": "KeyError"}]
    setup = RUNNERS + f"runner('dead_letters', read=lambda data_dir: {letters!r})"
    words = ["dead-letters", "list", "--data-dir", "d"]
    assert main_with(setup, *words, cwd=tmp_path).stdout.splitlines() == [
        "error id  operator  key  error",
        "7F3K2     total     k1   KeyError",
    ]
    assert json.loads(main_with(setup, *words, "--json", cwd=tmp_path).stdout) == {"dead_letters": letters}
    none = RUNNERS + "runner('dead_letters', read=lambda data_dir: [])"
    assert main_with(none, *words, cwd=tmp_path).stdout == "no dead letters\n"


def test_a_reader_that_leaves_is_no_error(tmp_path):
    setup = RUNNERS + "runner('dead_letters', read=lambda data_dir: [{'key': 'x' * 1000}] * 2000)"
    code = f"import sys\n{setup}\nfrom mini_flink.cli import main\nsys.exit(main(sys.argv[1:]))"
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "dead-letters", "list", "--data-dir", "d"],
        cwd=tmp_path,
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    os.read(read, 10)
    os.close(read)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 141


def test_our_own_bug_shows_a_traceback_and_exits_70(tmp_path):
    setup = RUNNERS + "runner('asking', query=lambda data_dir: 1 / 0)"
    done = main_with(setup, "status", "--data-dir", "d", cwd=tmp_path)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("please report it with the lines above\n")


def test_ctrl_c_is_quiet(tmp_path):
    setup = RUNNERS + "runner('asking', query=lambda data_dir: raising(KeyboardInterrupt()))"
    done = main_with(setup, "status", "--data-dir", "d", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("extra", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_colour_on_a_terminal(tmp_path, extra, coloured):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mini_flink", "srve"]
    subprocess.run(command, cwd=tmp_path, env=environment(**extra), stderr=theirs, timeout=30)
    os.close(theirs)
    said = os.read(ours, 4096)
    os.close(ours)
    assert (b"\x1b[" in said) is coloured


def test_no_colour_in_a_pipe_unless_forced(tmp_path):
    assert "\x1b" not in run("srve", cwd=tmp_path).stderr
    assert "\x1b" in run("srve", cwd=tmp_path, FORCE_COLOR="1").stderr


def test_a_table_is_cut_where_there_is_text_and_no_number_is():
    rows = [{"id": 1, "key": "a" * 40, "size_bytes": 1 << 31}, {"id": 1000, "key": "b", "size_bytes": None}]
    assert [*table(rows)] == [
        "  id  key                                       size",
        "   1  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  2 GB",
        "1000  b                                            –",
    ]
    assert [*table(rows, width=24)] == [
        "  id  key           size",
        "   1  aaaaaa…aaaaa  2 GB",
        "1000  b                –",
    ]
    assert [*table(rows, width=12)] == ["  id  key  …", "   1  aaaa……", "1000  b    …"]


def test_a_value_cannot_write_to_the_terminal(capsys):
    print_table([{"key": "a\x1b[2Jb\nc", "took_ms": 90_000}])
    assert capsys.readouterr().out.splitlines()[1] == r"a\x1b[2Jb\nc   2 m"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.00025, "250 µs"),
        (0.0123, "12 ms"),
        (1.25, "1.2 s"),
        (59.6, "1 m"),
        (3599, "59 m"),
        (11_520, "3 h 12 m"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations(seconds, shown):
    assert units.duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 B"), (1023.9, "1 KB"), (1_900_000_000, "1.77 GB"), (123 << 20, "123 MB")]
)
def test_sizes(number, shown):
    assert units.size(number) == shown


def test_tables_align(capsys):
    print_table([{"name": "a", "count_of": 5}, {"name": "long", "count_of": 1234, "more": True}])
    print_report({"x": None, "empty": [], "rows": [{"a": 1}]})
    assert capsys.readouterr().out.splitlines() == [
        "name  count of  more",
        "a            5  –",
        "long      1234  true",
        "x      –",
        "empty  []",
        "",
        "rows",
        "  a",
        "  1",
    ]


def test_a_graph_for_programs_is_asked_for_as_elsewhere() -> None:
    done = run("graph", "mini_flink.examples.running_total", "--json")
    assert json.loads(done.stdout)["job"] == "running-total", done.stderr

"""Every command with input that it cannot use: a documented exit code, and what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_flink.cli.exit_codes import EXIT_CODES
from mini_flink.cli.overview import COMMANDS
from mini_flink.folder import DataFolder, Start
from tests.cli.test_commands import refused, run

JOB = """
from mini_flink.datastream import StreamExecutionEnvironment
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/echo").reply()
env.execute("shop")
"""
CASES = [
    ("serve job.pi", 78, "did you mean job.py?"),
    ("serve mini_flink.examples.runing_total", 78, "did you mean mini_flink.examples.running_total?"),
    ("serve job.py --restore latst --port 0", 78, "did you mean latest?"),
    ("check", 2, "check job.py"),
    ("check job.pi", 78, "did you mean job.py?"),
    ("check job.py --wrkers 2", 2, "did you mean --workers?"),
    ("check job.py --against nowhere", 78, "latest, an id"),
    ("graph job.pi", 78, "did you mean job.py?"),
    ("graph nothing.x", 78, "name a file or a module, such as job.py"),
    ("graph job.py --format sgv", 2, "did you mean svg?"),
    ("status --data-dir .mini_flink/shopp", 69, "did you mean .mini_flink/shop?"),
    ("status --data-dir job.py", 78, "--data-dir"),
    ("status extra", 2, "status --help"),
    ("top --data-dir nowhere", 69, "serve JOB --data-dir nowhere"),
    ("top --intervl 2", 2, "did you mean --interval?"),
    ("config --prt 1", 2, "did you mean --port?"),
    ("state get", 2, "state get --help"),
    ("state get k --data-dir nowhere", 78, "--data-dir"),
    ("dead-letters list --data-dir .mini_flink/shopp", 78, "did you mean .mini_flink/shop?"),
    ("dead-letters show", 2, "dead-letters show --help"),
    ("dead-letters show 1-1-1", 2, "dead-letters list"),
    ("dead-letters retry", 2, "dead-letters retry --help"),
    ("dead-letters drop --all --yes", 69, "serve JOB"),
    ("snapshot lst", 2, "did you mean list?"),
    ("snapshot list --data-dir .mini_flink/shopp", 78, "did you mean .mini_flink/shop?"),
    ("snapshot show", 78, "snapshot verify"),
    ("snapshot verify nowhere", 78, "latest, an id"),
    ("rescale", 2, "rescale --workers 4"),
    ("rescale --workers 2", 69, "serve JOB"),
    ("upgrade", 2, "upgrade job.py"),
    ("upgrade job.py", 69, "serve JOB"),
    ("drain", 69, "serve JOB"),
    ("drain --timeout x", 2, "drain --help"),
    ("resume", 69, "serve JOB"),
    ("savepoint --too x", 2, "did you mean --to?"),
    ("savepoint", 69, "serve JOB"),
    ("systemd instal", 2, "did you mean install?"),
    ("monitoring dashbord", 2, "did you mean dashboard?"),
    ("init", 2, "init --help"),
    ("init .", 2, "empty"),
    ("completion bsh", 2, "did you mean bash?"),
    ("help statos", 2, "did you mean status?"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job, and a data folder that was served once, by nobody now."""
    (tmp_path / "job.py").write_text(JOB)
    data = tmp_path / ".mini_flink" / "shop"
    data.mkdir(parents=True)
    opened = DataFolder.open(str(data), Start("shop", 128, "disk"))
    opened.begin_run("disk", [], "job.py")
    opened.close()
    return tmp_path


@pytest.mark.parametrize(("line", "code", "remedy"), CASES)
def test_it_ends_as_documented(folder: Path, line: str, code: int, remedy: str) -> None:
    lines = refused(run(*line.split(), cwd=folder), code)
    assert remedy in lines[-1]
    assert code in {known for known, _, _ in EXIT_CODES}


def test_there_is_a_case_for_each_command() -> None:
    assert {line.split()[0] for line, _, _ in CASES} >= {name for name, _, _ in COMMANDS}

"""``check`` as a shell sees it, on folders that a real server has left."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mini_flink.folder import read_job
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.manifest import Manifest, snapshot_id
from tests.e2e.client import post
from tests.e2e.server import JOBS, Server

ROOT = Path(__file__).parents[2]
EVOLVING = str(JOBS / "evolving.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="folders are made by the server")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of version ``old``, with content in all states."""
    server = Server(tmp_path_factory.mktemp("left"), EVOLVING, "--workers", "2", args=["old"])
    try:
        server.start()
        for number in range(8):
            assert post(server.url, "/add", {"key": f"k{number}", "amount": number}).status == 200
        assert server.stop() == 0
    finally:
        server.clean_up()
    return server.data_dir


def check(*words: str, cwd: Path = ROOT, version: str = "same") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mini_flink", "check", EVOLVING, *words, "--", version]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {f"{one['operator']}.{one['state']}": one["outcome"] for one in report["state_changes"]}


def test_without_anything_stored_it_shows_the_job(tmp_path: Path) -> None:
    done = check("--workers", "2", cwd=tmp_path, version="old")
    assert done.returncode == 0
    shown = re.sub(r"\S+/evolving.py:\d+", "PLACE", done.stdout)
    assert [line.rstrip() for line in shown.splitlines()] == [
        "job              evolving",
        "made at          PLACE",
        "workers          2",
        "max parallelism  128",
        "",
        "steps",
        "  uid        kind      reads             parallelism  stage  made at",
        "  POST /add  requests  –                           –  –      PLACE",
        "  total      process   POST /add by key            2  total  PLACE",
        "  reply-1    reply     total                       2  total  PLACE",
        "",
        "states",
        "  operator  state  kind   type  parallelism  migrates from",
        "  total     total  value  int             2  –",
        "  total     seen   list   int             2  –",
        "",
        "nothing is stored yet: every state would begin empty",
    ]
    assert "building version old" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "code", "expected"),
    [
        ("same", 0, {"total.total": "kept", "total.seen": "kept"}),
        ("typed", 0, {"total.total": "migrated", "total.seen": "kept"}),
        ("untold", 78, {"total.total": "refused", "total.seen": "kept"}),
        ("turned", 78, {"total.total": "kept", "total.seen": "refused"}),
        ("shrunk", 78, {"total.total": "kept", "total.seen": "dropped"}),
        ("spread", 0, {"total.total": "moved", "total.seen": "moved"}),
        (
            "renamed",
            78,
            {"sum.total": "new", "sum.seen": "new", "total.seen": "dropped", "total.total": "dropped"},
        ),
        ("foreign", 78, {}),
    ],
)
def test_what_would_become_of_each_state(
    left: Path, version: str, code: int, expected: dict[str, str]
) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in left.rglob("*.log"))
    done = check("--data-dir", str(left), "--json", version=version)
    assert done.returncode == code, done.stderr
    report = json.loads(done.stdout)
    assert outcomes(report) == expected
    assert report["would_start"] is (code == 0)
    assert bool(report["problems"]) is (code != 0)
    assert (report["workers"], report["against"]) == (2, f"data folder {left}, 2 workers")
    assert sorted((path, path.stat().st_mtime_ns) for path in left.rglob("*.log")) == before


def test_a_job_that_fits_says_so(left: Path) -> None:
    done = check("--against", str(left), version="typed")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    start = lines.index(f"compared with the data folder {left}, 2 workers")
    assert [line.split() for line in lines[start + 1 :]] == [
        [],
        ["state", "changes"],
        ["operator", "state", "outcome", "detail"],
        ["total", "total", "migrated", "int", "→", "float"],
        ["total", "seen", "kept", "–"],
        [],
        ["it", "would", "start", "with", "this", "state"],
    ]


def test_a_refusal_names_the_line_to_write(left: Path) -> None:
    done = check("--against", str(left), version="untold")
    assert done.returncode == 78
    assert done.stderr.splitlines()[-2:] == [
        "error: state 'total' of operator 'total' is stored as value state of int, "
        "and the job declares value state of float",
        "  = help: say how it changes: ValueStateDescriptor('total', float).migrate_from(int, float)",
    ]
    assert "refused" in done.stdout
    assert "would start" not in done.stdout


def test_all_reasons_are_named_each_with_its_remedy(left: Path) -> None:
    done = check("--against", str(left), version="twice")
    assert done.returncode == 78
    head, untold, dropped, remedy = done.stderr.splitlines()[-4:]
    assert head == "error: the job does not fit what is stored, for 2 reasons"
    assert "'total' of operator 'total' is stored as value state of int" in untold
    assert untold.endswith("migrate_from(int, float)")
    assert dropped == (
        "  - state 'seen' of operator 'total' is stored and not declared any more: "
        "--allow-dropped-state lets it go"
    )
    assert remedy.startswith("  = help: ")


def test_dropped_state_may_be_allowed(left: Path) -> None:
    done = check("--against", str(left), "--allow-dropped-state", version="shrunk")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "it would start with this state")
    assert "dropped" in done.stdout


def test_a_lost_uid_is_guessed(left: Path) -> None:
    problems = json.loads(check("--against", str(left), "--json", version="renamed").stdout)["problems"]
    remedies = {problem["problem"].split("'")[1]: problem["remedy"] for problem in problems}
    assert remedies["total"].startswith(
        "if it is state 'total' of operator 'sum' now, give that .uid('total')"
    )


def test_new_states_operators_and_routes(left: Path) -> None:
    report = json.loads(check("--against", str(left), "--json", version="grown").stdout)
    kinds = {one["kind"]: one["change"] for one in report["operator_changes"]}
    assert kinds == {"requests": "new", "reduce": "new", "reply": "new"}
    assert list(outcomes(report).values()) == ["kept", "kept", "new", "new"]
    [warning] = report["warnings"]
    assert "keeps state and has no uid" in warning
    assert "evolving.py:" in warning


def test_the_default_folder_is_found_where_the_command_was_typed(left: Path, tmp_path: Path) -> None:
    shutil.copytree(left, tmp_path / ".mini_flink" / "evolving")
    report = json.loads(check("--json", cwd=tmp_path).stdout)
    assert report["against"] == "data folder .mini_flink/evolving, 2 workers"
    assert set(outcomes(report).values()) == {"kept"}


def test_more_workers_spread_what_has_no_parallelism_of_its_own(left: Path) -> None:
    report = json.loads(check("--against", str(left), "--workers", "4", "--json").stdout)
    assert {one["detail"] for one in report["state_changes"]} == {"parallelism 2 → 4"}


def test_workers_folders_of_the_format_before_are_found(left: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(left, copy)
    for worker in list((copy / "g1").iterdir()):
        worker.rename(copy / worker.name)
    (copy / "g1").rmdir()
    record = read_job(str(copy))
    assert record is not None
    (copy / "job.json").write_text(json.dumps({**record, "format": 1}))
    report = json.loads(check("--against", str(copy), "--json").stdout)
    assert outcomes(report) == {"total.total": "kept", "total.seen": "kept"}


@pytest.fixture(scope="module")
def snapshots(left: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests of two snapshots of that job, the later one after a rescale; no part is read."""
    record = read_job(str(left))
    assert record is not None
    folder = tmp_path_factory.mktemp("snapshots")
    total = record["operators"]["total"]
    for epoch, parallelisms in ((1, {}), (2, {"total": 5, "gone": 3})):
        manifest = Manifest(
            id=snapshot_id(record["folder_id"], epoch),
            kind="snapshot",
            job=record["job"],
            folder_id=record["folder_id"],
            epoch=epoch,
            generation=1,
            created_ms=epoch,
            duration_ms=1,
            program_version="0",
            workers=2,
            max_parallelism=128,
            operators=record["operators"],
            next_operator=record["next_operator"],
            parallelisms=parallelisms,
            incarnations={},
            fingerprint=record["fingerprint"],
            states=[[total, "seen", "list", "int"], [total, "total", "value", "int"]],
            parts=(),
            new_bytes=0,
            total_bytes=0,
        )
        Catalog(FileStore(str(folder))).write_manifest(manifest)
    return folder


def test_a_snapshot_by_all_its_names(left: Path, snapshots: Path, tmp_path: Path) -> None:
    shutil.copytree(snapshots, tmp_path / ".mini_flink" / "evolving" / "snapshots")
    first, last = sorted(path.name for path in snapshots.iterdir())
    for cwd, words in (
        (tmp_path, ["--against", "latest"]),
        (tmp_path, ["--against", last]),
        (ROOT, ["--against", str(snapshots)]),
        (ROOT, ["--against", str(snapshots / last)]),
        (ROOT, ["--against", f"file://{snapshots}/{last}"]),
        (ROOT, ["--against", "latest", "--snapshot-dir", str(snapshots)]),
    ):
        report = json.loads(check(*words, "--json", cwd=cwd, version="typed").stdout)
        assert f"snapshot {last} in " in report["against"], words
        assert outcomes(report) == {"total.total": "migrated", "total.seen": "kept"}
    report = json.loads(check("--against", first, "--json", cwd=tmp_path, version="untold").stdout)
    assert f"snapshot {first} in .mini_flink/evolving/snapshots, 2 workers" == report["against"]
    assert outcomes(report) == {"total.total": "refused", "total.seen": "kept"}


def test_what_a_rescale_had_set_stays(snapshots: Path) -> None:
    report = json.loads(check("--against", str(snapshots), "--workers", "4", "--json").stdout)
    assert {state["parallelism"] for state in report["states"]} == {5}
    assert set(outcomes(report).values()) == {"kept"}


@pytest.mark.parametrize("against", ["latest", "nowhere", "00000000-000001"])
def test_a_snapshot_that_is_not_there(tmp_path: Path, against: str) -> None:
    done = check("--against", against, cwd=tmp_path)
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1].startswith("  = help: ")
    assert "snapshot" in done.stderr.splitlines()[-2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [([], "check needs a job", "check job.py"), (["a.py", "b"], "one job, and then b", "check a.py -- b")],
)
def test_wrong_usage(words: list[str], said: str, remedy: str) -> None:
    command = [sys.executable, "-m", "mini_flink", "check", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[-1].endswith(remedy)


def test_a_job_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "from mini_flink.datastream import MapFunction, StreamExecutionEnvironment\n"
        "class Broken(MapFunction):\n"
        "    def open(self, runtime_context):\n"
        "        raise ValueError('no model')\n"
        "    def map(self, value):\n"
        "        return value\n"
        "env = StreamExecutionEnvironment.get_execution_environment()\n"
        "env.from_requests('/a').map(Broken()).reply()\n"
        "env.execute('broken')\n"
    )
    command = [sys.executable, "-m", "mini_flink", "check", "job.py"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (78, "")
    assert "open() of operator 'Broken' raised ValueError: no model" in done.stderr.splitlines()[0]
    assert "--> job.py:4" in done.stderr

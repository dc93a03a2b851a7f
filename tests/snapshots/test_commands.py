"""``snapshot list|show|verify`` as a shell sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.manifest import manifest_path, snapshot_id
from mini_flink.snapshots.remote import RemoteStore
from tests.cli.test_commands import refused, run
from tests.snapshots.places import FOLDER_ID, content, put, take


def id_of(epoch: int) -> str:
    return snapshot_id(FOLDER_ID, epoch)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Three snapshots, the last on a chain, and a half-written one."""
    store = FileStore(tmp_path / "data" / "snapshots")
    take(store, 1, kind="savepoint")
    second = take(store, 2)
    take(store, 3, after=second, items={b"Sx": b"v" * 2000})
    put(store, f"{id_of(4)}/w0.state", b"half")
    return tmp_path / "data"


def damage(data_dir: Path, path: str) -> None:
    file = data_dir / "snapshots" / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_list_as_table(data_dir: Path) -> None:
    done = run("snapshot", "list", "--data-dir", str(data_dir))
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["id", "kind", "job", "epoch", "workers", "created", "at", "new", "total", "state"]
    assert re.fullmatch(
        rf"{id_of(3)}  snapshot   shop +3 +1 +\d{{4}}-\d\d-\d\d \d\d:\d\d:00  2\.\d+ KB  2\.\d+ KB  "
        "present, not verified",
        lines[2],
    )
    assert lines[0].startswith(f"{id_of(1)}  savepoint")
    assert lines[3].startswith(id_of(4))
    assert lines[3].endswith("unfinished: it has no manifest: it is being written or removed, or was left so")


def test_list_as_json_names_what_is_damaged(data_dir: Path) -> None:
    damage(data_dir, manifest_path(id_of(1)))
    (data_dir / "snapshots" / id_of(3) / "w0.channels").unlink()
    done = run("snapshot", "list", str(data_dir / "snapshots"), "--json")
    found = json.loads(done.stdout)
    assert found["location"] == str(data_dir / "snapshots")
    states = {one["id"]: (one["state"], " ".join(one["problems"])) for one in found["snapshots"]}
    assert states[id_of(1)][0] == "damaged"
    assert f"{id_of(1)}/manifest.json is damaged" in states[id_of(1)][1]
    assert states[id_of(2)] == ("present", "")
    assert states[id_of(3)] == ("damaged", f"{data_dir}/snapshots/{id_of(3)}/w0.channels is missing")
    assert states[id_of(4)][0] == "unfinished"
    assert (done.returncode, found["snapshots"][1]["epoch"]) == (0, 2)


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_place_without_snapshots(tmp_path: Path, command: str) -> None:
    done = run("snapshot", command, "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, f"no snapshots in {tmp_path}/snapshots\n")


def test_the_place_can_be_a_setting(data_dir: Path) -> None:
    place = str(data_dir / "snapshots")
    assert id_of(3) in run("snapshot", "list", "--snapshot-dir", place).stdout
    assert id_of(3) in run("snapshot", "list", MINI_FLINK_SNAPSHOT_DIR=place).stdout


def test_show(data_dir: Path) -> None:
    done = run("snapshot", "show", "--data-dir", str(data_dir))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"id               {id_of(3)}\n" in done.stdout
    assert "state            whole\n" in done.stdout
    assert re.search(r"\nstates\n +operator +name +kind +type\n +total +sum +value +int\n", done.stdout)
    assert re.search(rf"\n +0 +{id_of(2)}/w0\.state +base +1 +\d+ B\n", done.stdout)
    described = json.loads(run("snapshot", "show", str(data_dir / "snapshots" / id_of(1)), "--json").stdout)
    assert (described["id"], described["kind"], described["state"]) == (id_of(1), "savepoint", "present")
    assert [file["kind"] for file in described["files"]] == ["base", "channels"]
    assert described["operators"][1] == {"uid": "total", "number": 2, "rescaled_to": 2}


def test_verify_when_all_is_well(data_dir: Path) -> None:
    done = run("snapshot", "verify", "--data-dir", str(data_dir))
    assert done.returncode == 0
    assert [line.split(maxsplit=1) for line in done.stdout.splitlines()[:4]] == [
        ["id", "state"],
        *([id_of(epoch), "whole"] for epoch in (1, 2, 3)),
    ]
    one = json.loads(run("snapshot", "verify", "latest", "--json", "--data-dir", str(data_dir)).stdout)
    assert one["snapshots"] == [{"id": id_of(3), "state": "whole", "problems": []}]


def test_the_latest_is_the_latest_that_is_whole_and_the_damaged_one_is_named(data_dir: Path) -> None:
    path = f"{id_of(3)}/w0.channels"
    damage(data_dir, path)
    shown = run("snapshot", "show", "latest", "--data-dir", str(data_dir))
    assert f"id               {id_of(2)}\n" in shown.stdout
    assert "state            whole\n" in shown.stdout
    assert (
        f"the snapshot {id_of(3)} is damaged and passed over: {data_dir}/snapshots/{path} is" in shown.stderr
    )
    done = run("snapshot", "verify", "latest", "--json", "--data-dir", str(data_dir))
    states = [(one["id"], one["state"]) for one in json.loads(done.stdout)["snapshots"]]
    assert (done.returncode, states) == (74, [(id_of(3), "damaged"), (id_of(2), "whole")])


@pytest.mark.parametrize("command", ["show", "verify"])
def test_there_is_no_latest(tmp_path: Path, command: str) -> None:
    done = run("snapshot", command, "latest", "--data-dir", str(tmp_path))
    assert "there is no whole snapshot in" in refused(done, 78)[0]


def test_a_place_that_is_not_there_or_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (str(tmp_path / "nowhere"), "memory://nowhere", str(tmp_path / "file")):
        lines = refused(run("snapshot", "list", place), 78)
        assert f"{place} does not exist or is no folder" in lines[0]
    (tmp_path / "empty").mkdir()
    done = run("snapshot", "list", str(tmp_path / "empty"))
    assert (done.returncode, done.stdout) == (0, f"no snapshots in {tmp_path}/empty\n")


@pytest.mark.parametrize("name", ["w0.state", "w0.channels", "manifest.json"])
def test_verify_names_file_and_reason_and_exits_74(data_dir: Path, name: str) -> None:
    damage(data_dir, f"{id_of(2)}/{name}")
    done = run("snapshot", "verify", "--data-dir", str(data_dir))
    assert done.returncode == 74
    assert re.search(rf"{id_of(2)} +damaged: .*/snapshots/{id_of(2)}/{name} is damaged: ", done.stdout)
    assert re.search(rf"{id_of(1)} +whole", done.stdout)
    shares = name == "w0.state"  # the third is a delta on it
    assert re.search(rf"{id_of(3)} +{'damaged' if shares else 'whole'}", done.stdout)
    alone = run("snapshot", "verify", id_of(2), "--data-dir", str(data_dir))
    assert alone.returncode == 74
    assert f"{id_of(2)}/{name} is damaged" in alone.stdout + alone.stderr
    assert run("snapshot", "verify", id_of(1), "--data-dir", str(data_dir)).returncode == 0


def test_verify_of_a_foreign_one(data_dir: Path) -> None:
    put(FileStore(data_dir / "snapshots"), "webapp/manifest.json", b'{"name": "an app"}')
    done = run("snapshot", "verify", "--data-dir", str(data_dir))
    assert done.returncode == 74
    assert re.search(r"webapp +damaged: .*webapp/manifest\.json is no manifest of a snapshot", done.stdout)


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (
            ["show", "00c0ffee-000009"],
            "there is no snapshot 00c0ffee-000009 in",
            "did you mean 00c0ffee-00000",
        ),
        (["show", ""], "'' names no snapshot", "say latest"),
        (["show", "00c0ffee-000004"], "00c0ffee-000004 in", "snapshot verify"),
        (
            ["verify", "nowhere"],
            "nowhere is neither a snapshot nor a folder that holds some",
            "snapshot list",
        ),
    ],
)
def test_what_is_no_snapshot(data_dir: Path, words: list[str], what: str, remedy: str) -> None:
    lines = refused(run("snapshot", *words, "--data-dir", str(data_dir)), 78)
    assert what in lines[0]
    assert remedy in lines[-1]


@pytest.mark.parametrize("command", ["list", "show", "verify"])
def test_a_server_that_refuses_to_be_connected(command: str) -> None:
    done = run("snapshot", command, "ftp://u:s3cr3t@127.0.0.1:1/x")
    assert "cannot open ftp://127.0.0.1:1/x: ConnectionRefusedError" in refused(done, 74)[0]
    assert "s3cr3t" not in done.stdout + done.stderr


def test_wrong_usage(tmp_path: Path) -> None:
    assert "snapshot list needs --data-dir" in refused(run("snapshot", "list", cwd=tmp_path), 2)[0]
    assert "did you mean verify?" in refused(run("snapshot", "verfy", cwd=tmp_path), 2)[-1]
    for words in (["snapshot"], ["snapshot", "list"], ["snapshot", "show"], ["snapshot", "verify"]):
        lines = run(*words, "--help").stdout.splitlines()
        assert lines[1].startswith(f"Example: python -m mini_flink {' '.join(words)}")
        assert all(len(line) <= 110 for line in lines)


def test_on_s3(s3_url: str, s3_environment: dict[str, str]) -> None:
    store = RemoteStore(s3_url)
    taken = take(store, 1)
    assert taken.id in run("snapshot", "list", s3_url, **s3_environment).stdout
    assert run("snapshot", "verify", s3_url, **s3_environment).returncode == 0
    path = f"{taken.id}/w0.state"
    put(store, path, content(store, path)[:-1] + b"?")
    done = run("snapshot", "verify", f"{s3_url}/{taken.id}", **s3_environment)
    assert done.returncode == 74
    assert f"{s3_url}/{path} is damaged" in done.stdout

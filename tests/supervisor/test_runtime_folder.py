"""The folder of sockets is private, short-lived, and never somebody else's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mini_flink.errors import ConfigError
from mini_flink.supervisor.runtime_folder import make_runtime_folder, remove_runtime_folder


def test_the_first_usable_place_is_taken(tmp_path: Path) -> None:
    for name in ("setting", "systemd", "user"):
        (tmp_path / name).mkdir()
    environment = {
        "RUNTIME_DIRECTORY": f"{tmp_path}/systemd:{tmp_path}/more",
        "XDG_RUNTIME_DIR": f"{tmp_path}/user",
    }
    made = [
        make_runtime_folder(f"{tmp_path}/setting", 0xC0FFEE, environment),
        make_runtime_folder(None, 0xC0FFEE, environment),
        make_runtime_folder(None, 0xC0FFEE, {**environment, "RUNTIME_DIRECTORY": f"{tmp_path}/missing"}),
        make_runtime_folder(None, 0xC0FFEE, {}),
    ]
    assert made[:3] == [f"{tmp_path}/{name}/mini_flink-00c0ffee" for name in ("setting", "systemd", "user")]
    assert made[3].startswith("/tmp/mini_flink-")
    for path in made:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        remove_runtime_folder(path)
        assert not os.path.exists(path)


def test_what_a_dead_server_left_is_removed(tmp_path: Path) -> None:
    path = make_runtime_folder(str(tmp_path), 1, {})
    Path(path, "w0.7").touch()
    assert make_runtime_folder(str(tmp_path), 1, {}) == path
    assert os.listdir(path) == []


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mini_flink-link").symlink_to(tmp_path)
    for path in (tmp_path, tmp_path / "mini_flink-link", tmp_path / "missing"):
        remove_runtime_folder(str(path))
    remove_runtime_folder("")
    assert (tmp_path / "mini_flink-link").exists()


def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made") as refused:
        make_runtime_folder(str(tmp_path / "file"), 1, {})
    assert "--runtime-dir" in refused.value.help

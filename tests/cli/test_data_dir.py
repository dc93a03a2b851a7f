"""Which data folder a command is about when none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_flink import procfs
from mini_flink.cli.reading import data_dir_of
from mini_flink.config import Settings
from mini_flink.errors import UsageError
from mini_flink.folder import sealed


def serve(folder: Path, name: str) -> None:
    """As if this process were the server of that folder."""
    me = procfs.current_process()
    run = {"format": 1, "pid": me.pid, "start_time": me.start_time}
    (folder / ".mini_flink" / name / "run.json").write_bytes(sealed(run))


def test_the_only_one_that_is_served_is_meant_else_all_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / ".mini_flink" / name).mkdir(parents=True)
    with pytest.raises(UsageError, match="status needs --data-dir") as refused:
        data_dir_of(Settings(), "status")
    assert refused.value.details == (".mini_flink/a", ".mini_flink/b", ".mini_flink/c")
    serve(tmp_path, "b")
    assert data_dir_of(Settings(), "status") == ".mini_flink/b"
    serve(tmp_path, "c")
    with pytest.raises(UsageError) as refused:
        data_dir_of(Settings(), "status")
    assert refused.value.details == (
        ".mini_flink/a",
        ".mini_flink/b, served now",
        ".mini_flink/c, served now",
    )
    assert refused.value.help.endswith("--data-dir .mini_flink/b")

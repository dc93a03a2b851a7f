"""Cores: what affinity and the control groups leave of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mini_flink.supervisor.cores import cores_at_hand


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def world(tmp_path: Path, *, cgroup: str, mount: str, files: dict[str, str]) -> str:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mount.format(point=tmp_path / "fs"))
    for name, content in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(proc)


V2 = "30 23 0:26 {root} {{point}} rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {root} {{point}} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


def test_without_a_quota_affinity_counts(tmp_path: Path) -> None:
    assert cores_at_hand(str(tmp_path)) == 8


@pytest.mark.parametrize(("limit", "cores"), [("150000 100000", 2), ("max 100000", 8), ("20000 100000", 1)])
def test_version_2(tmp_path: Path, limit: str, cores: int) -> None:
    proc = world(tmp_path, cgroup="0::/a/b\n", mount=V2.format(root="/"), files={"a/b/cpu.max": limit})
    assert cores_at_hand(proc) == cores


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}
    assert cores_at_hand(world(tmp_path, cgroup="0::/a/b\n", mount=V2.format(root="/"), files=files)) == 3


def test_in_a_container_the_mount_begins_at_the_group(tmp_path: Path) -> None:
    mount = V2.format(root="/docker/17")
    files = {"cpu.max": "200000 100000\n"}
    assert cores_at_hand(world(tmp_path, cgroup="0::/docker/17\n", mount=mount, files=files)) == 2


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", 8)])
def test_version_1(tmp_path: Path, quota: str, cores: int) -> None:
    files = {"a/cpu.cfs_quota_us": quota, "a/cpu.cfs_period_us": "100000"}
    cgroup = "4:memory:/\n2:cpu,cpuacct:/a\n0::/\n"
    assert cores_at_hand(world(tmp_path, cgroup=cgroup, mount=V1.format(root="/"), files=files)) == cores

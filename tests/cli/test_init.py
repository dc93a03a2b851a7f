"""``init``: the project that it makes is tested, served and asked, as its user would do it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mini_flink.config_layers import resolve
from tests.cli.test_commands import environment, refused, run
from tests.e2e.client import post
from tests.e2e.server import Server

FILES = {".gitignore", "README.md", "job.py", "mini_flink.toml", "requirements.txt", "test_job.py"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    done = run("init", "shop", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  cd shop\n  python -m mini_flink serve job.py\n" in done.stdout
    assert all(f"\n  {name} " in done.stdout for name in FILES)
    return tmp_path / "shop"


def test_its_test_passes(shop: Path) -> None:
    assert set(os.listdir(shop)) == FILES
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=shop,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="serve needs Linux")
def test_it_serves(shop: Path) -> None:
    server = Server(shop, shop / "job.py", "--workers", "1", "--gateways", "1")
    try:
        server.start()
        assert post(server.url, "/total", {"key": "ann", "amount": 3}).body == {"key": "ann", "total": 3}
        assert server.status()["job"] == "shop"
        assert server.stop() == 0
    finally:
        server.clean_up()


def test_every_setting_in_its_comments_may_be_used(shop: Path) -> None:
    text = (shop / "mini_flink.toml").read_text()
    assert resolve({}, environment={}, directory=shop).origins == {}
    (shop / "mini_flink.toml").write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
    assert len(resolve({}, environment={}, directory=shop).origins) == 7


def test_nothing_is_left_to_fill_in(shop: Path) -> None:
    for name in FILES:
        text = (shop / name).read_text()
        assert "{{" not in text
        assert name.endswith(".py") is False or ast.parse(text)


def test_a_folder_that_is_not_empty_is_refused(shop: Path) -> None:
    (shop / "job.py").write_text("mine")
    [error, hint] = refused(run("init", "shop", cwd=shop.parent), 2)
    assert error == "error: the folder shop is not empty: it holds .gitignore, README.md, job.py, …"
    assert "not there yet" in hint
    assert (shop / "job.py").read_text() == "mine"


def test_an_empty_repository_is_as_good_as_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "till" / ".git").mkdir(parents=True)
    assert run("init", ".", cwd=tmp_path / "till").returncode == 0
    assert 'env.execute("till")' in (tmp_path / "till" / "job.py").read_text()


@pytest.mark.parametrize(("name", "what"), [("a shop", "is no name"), ("file", "is no folder")])
def test_what_cannot_be_a_project_is_refused(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "file").touch()
    assert what in refused(run("init", name, cwd=tmp_path), 2)[0]


def test_without_a_name_it_says_what_is_missing(tmp_path: Path) -> None:
    assert "Missing argument 'NAME'" in refused(run("init", cwd=tmp_path), 2)[0]

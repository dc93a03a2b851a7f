"""What is built from a checkout: all that it needs to run, with a script and a version."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import mini_flink

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED = (".py", ".typed", ".md", ".service", ".socket", ".slice", ".txt", ".yml")
PAGE = ROOT / "mini_flink" / "admin" / "static"
"""All of it is shipped: the page, its libraries and their licences."""


def sources() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "mini_flink").rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix in SHIPPED or PAGE in path.parents)
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and source archive; built offline, by the tool of the test extra."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a new environment with the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (path,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(path)], check=True, cwd=folder)
    ours = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site_packages / "dependencies.pth").write_text("\n".join(ours))
    return folder / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    info = f"mini_flink-{mini_flink.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(info)} == sources()
    assert {"mini_flink/py.typed", "mini_flink/examples/risk_engine.py"} <= names
    assert f"{info}licenses/LICENSE" in names


def test_its_metadata(wheel: zipfile.ZipFile) -> None:
    info = f"mini_flink-{mini_flink.__version__}.dist-info/"
    about = Parser().parsestr(wheel.read(f"{info}METADATA").decode())
    assert (about["Name"], about["Version"]) == ("mini-flink", mini_flink.__version__)
    assert (about["License-Expression"], about["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_payload() == (ROOT / "README.md").read_text()
    assert about.get_all("Provides-Extra") == ["remote", "test", "tracing"]
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    assert "mini-flink = mini_flink.__main__:main" in wheel.read(f"{info}entry_points.txt").decode()


def test_the_source_archive_holds_what_tests_and_bench_need(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
    assert wanted | sources() | {"bench/__main__.py"} <= names
    assert "tests/packaging/test_wheel.py" in names


def test_script_and_module_are_one_command(installed: Path, tmp_path: Path) -> None:
    def said(*command: str) -> str:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    script, python = str(installed / "mini-flink"), str(installed / "python")
    version = f"mini_flink {mini_flink.__version__}\n"
    assert said(script, "--version") == version
    assert said(python, "-m", "mini_flink", "--version") == version
    assert said(script, "--help") == said(python, "-m", "mini_flink", "--help")
    assert "--port" in said(script, "serve", "--help")
    location = said(python, "-c", "import mini_flink; print(mini_flink.__file__)")
    assert location.startswith(str(installed.parent)), "not the checkout"


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for name in PROJECT["project"]["dependencies"]:
        requirement = re.escape(name.replace("'", '"'))
        assert re.search(rf"{requirement}.*# \w", text.replace("'", '"')), f"{name} has no reason beside it"


def test_there_is_a_changelog_entry_for_this_version() -> None:
    assert mini_flink.__version__ in (ROOT / "CHANGELOG.md").read_text()

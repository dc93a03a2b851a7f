"""A job is loaded exactly as Python would run it, and every failure names the user's own line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mini_flink.jobs import JobTarget

ROOT = Path(__file__).parents[2]

LOAD = """
import sys
from mini_flink.errors import MiniFlinkError
from mini_flink.failures import render_error
from mini_flink.jobs import JobTarget, load_graph
try:
    graph = load_graph(JobTarget.parse(sys.argv[2], tuple(sys.argv[3:])), quiet=sys.argv[1] == "quiet")
    print("graph", graph.name)
except MiniFlinkError as error:
    print(render_error(error), end="")
    sys.exit(error.exit_code)
"""

BUILD = """
from mini_flink.datastream import StreamExecutionEnvironment
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/x").map(lambda value: value).reply()
env.execute("shop")
"""

IDENTITY = """
import sys, json
if __name__ == "__main__":
    facts = {
        "name": __name__, "file": __file__, "argv": sys.argv, "path": sys.path, "package": __package__,
        "spec": __spec__ and [__spec__.name, __spec__.origin], "loader": type(__loader__).__name__,
        "cached": __cached__, "doc": __doc__, "main": sys.modules["__main__"].__dict__ is globals(),
        "annotations": __annotations__, "class": type("X", (), {}).__module__,
        "code": (lambda: 0).__code__.co_filename, "builtins": type(__builtins__).__name__,
    }
    sys.stderr.write(json.dumps(facts))
"""


def python(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=environment, capture_output=True, text=True, timeout=30
    )


def load(target: str, *args: str, cwd: Path, how: str = "quiet") -> subprocess.CompletedProcess[str]:
    return python("-c", LOAD, how, target, *args, cwd=cwd)


def failed(target: str, cwd: Path) -> str:
    done = load(target, cwd=cwd)
    assert done.returncode == 78, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) <= 8
    assert "mini_flink/" not in done.stdout
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(BUILD)
    return tmp_path


@pytest.mark.parametrize("target", ["job.py", "./job.py", "sub/job.py", "link.py", "job", "pkg.job", "pkg"])
def test_the_job_sees_what_python_would_show_it(tmp_path, target):
    for name in ("job.py", "sub/job.py", "pkg/__init__.py", "pkg/job.py", "pkg/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('"""Doc."""\n' + IDENTITY)
    (tmp_path / "link.py").symlink_to("sub/job.py")
    is_module = not target.endswith(".py") and target != "pkg"
    if target == "pkg":  # the folder is there: a package is named by module only from elsewhere
        code = LOAD.replace("JobTarget.parse(sys.argv[2],", "JobTarget('pkg', True, directory='.', args=")
        code = code.replace("directory='.'", f"directory={str(tmp_path)!r}")
        ours = python("-c", code, "aloud", "pkg", "a", "--b", cwd=tmp_path)
        theirs = python("-m", "pkg", "a", "--b", cwd=tmp_path)
    else:
        ours = load(target, "a", "--b", cwd=tmp_path, how="aloud")
        theirs = python(*(["-m"] if is_module else []), target, "a", "--b", cwd=tmp_path)
    assert json.loads(ours.stderr) == json.loads(theirs.stderr)


def test_the_graph_comes_back_and_classes_belong_to_main(folder):
    done = load("job.py", cwd=folder)
    assert done.stdout == "graph shop\n"
    done = load("job", cwd=folder)
    assert done.stdout == "graph shop\n"


def test_what_the_top_level_prints_appears_only_aloud(folder):
    noise = "import os, sys\nprint('one', flush=True)\nsys.stderr.write('two')\nos.system('echo three')\n"
    (folder / "job.py").write_text(noise + BUILD)
    loud, quiet = load("job.py", cwd=folder, how="aloud"), load("job.py", cwd=folder)
    assert (quiet.stdout, quiet.stderr) == ("graph shop\n", "")
    assert (loud.stdout, loud.stderr) == ("one\nthree\ngraph shop\n", "two")


def test_a_handler_installed_quietly_speaks_afterwards(folder):
    (folder / "job.py").write_text("import logging\nlogging.basicConfig()\nlogging.warning('no')\n" + BUILD)
    done = python("-c", LOAD + "import logging\nlogging.warning('yes')", "quiet", "job.py", cwd=folder)
    assert done.stderr == "WARNING:root:yes\n"


def test_errors_are_not_muted(folder):
    (folder / "job.py").write_text("print('x')\nboom\n")
    assert failed("job.py", folder).startswith("error: NameError: name 'boom' is not defined while job.py")


def test_a_job_may_end_with_sys_exit_after_execute(folder):
    (folder / "job.py").write_text(BUILD + "import sys\nsys.exit()\n")
    assert load("job.py", cwd=folder).stdout == "graph shop\n"


@pytest.mark.parametrize("target", ["jbo.py", "job.pi", "./jobb.py", "jobb"])
def test_a_missing_file_names_the_nearest(folder, target):
    said = failed(target, folder)
    assert said.splitlines()[0] == f"error: no file {'' if 'py' in target else 'or module '}{target} here"
    assert said.splitlines()[-1] in ("  = help: did you mean job.py?", "  = help: did you mean ./job.py?")


def test_a_missing_file_with_nothing_near(tmp_path):
    assert failed("job.py", tmp_path).endswith("such as job.py or shop.orders\n")
    assert "no file nope/job.py here" in failed("nope/job.py", tmp_path)


def test_a_folder_is_no_job(folder):
    (folder / "shop").mkdir()
    (folder / "shop" / "job.py").write_text(BUILD)
    assert failed("shop/", folder) == (
        "error: shop/ is a folder, not a job\n  = help: did you mean shop/job.py?\n"
    )


def test_a_syntax_error_shows_the_line_and_a_caret(folder):
    (folder / "job.py").write_text("a = 1\nif a == 1:\n    b = (1, 2\nc = 3\n")
    assert failed("job.py", folder) == (
        "error: job.py does not parse: '(' was never closed\n"
        "  --> job.py:3:9\n"
        "  |\n"
        "3 | b = (1, 2\n"
        "  |     ^\n"
        "  = help: correct that line; to check it alone: python -m py_compile job.py\n"
    )


def test_a_syntax_error_in_an_imported_file_names_that_file(folder):
    (folder / "helper.py").write_text("def f(:\n    pass\n")
    (folder / "job.py").write_text("import helper\n")
    assert "--> helper.py:1:7" in failed("job.py", folder)


@pytest.mark.parametrize("content", [b"x = '\xff'\n", b"x = 1\0\n"])
def test_a_file_that_is_no_source(folder, content):
    (folder / "job.py").write_bytes(content)
    assert "job.py" in failed("job.py", folder)


def test_an_import_error_names_the_missing_module_and_the_users_line(folder):
    (folder / "job.py").write_text("import os\nimport nosuchthing.inner\n")
    assert failed("job.py", folder) == (
        "error: No module named 'nosuchthing'\n"
        "  --> job.py:2:1\n"
        "  |\n"
        "2 | import nosuchthing.inner\n"
        "  | ^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "  = help: is there a nosuchthing.py? or install it: pip install nosuchthing\n"
    )


@pytest.mark.parametrize(("wrong", "right"), [("jsonn", "json"), ("helpr", "helper")])
def test_a_mistyped_import_names_the_nearest(folder, wrong, right):
    (folder / "helper.py").write_text("")
    (folder / "job.py").write_text(f"import {wrong}\n")
    assert f"did you mean {right}? or install it: pip install {wrong}" in failed("job.py", folder)


@pytest.mark.parametrize("package", ["numpi", "scipyy", "rey", "requestz"])
def test_a_missing_package_is_not_taken_for_a_module_of_pythons(folder, package):
    (folder / "job.py").write_text(f"import {package}\n")
    assert failed("job.py", folder).endswith(f"a {package}.py? or install it: pip install {package}\n")


@pytest.mark.parametrize("raised", ["asyncio.CancelledError()", "GeneratorExit()", "Halt('now')"])
def test_what_is_no_exception_is_told_like_one(folder, raised):
    text = f"import asyncio\nclass Halt(BaseException): pass\nraise {raised}\n"
    (folder / "job.py").write_text(text)
    said = failed("job.py", folder)
    assert "while job.py was loaded\n  --> job.py:3:1\n" in said
    assert said.startswith(f"error: {raised.partition('(')[0].replace('asyncio', 'asyncio.exceptions')}")


def test_a_module_that_is_found_but_lacks_another_one_names_that(folder):
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__init__.py").write_text("import nosuchthing\n")
    (folder / "pkg" / "job.py").write_text(BUILD)
    said = failed("pkg.job", folder)
    assert "No module named 'nosuchthing'" in said
    assert "--> pkg/__init__.py:1:1" in said


def test_a_circular_import(folder):
    (folder / "job.py").write_text("from first import a\n")
    (folder / "first.py").write_text("from second import b\na = 1\n")
    (folder / "second.py").write_text("from first import a\nb = 1\n")
    said = failed("job.py", folder)
    assert "partially initialized module 'first'" in said
    assert "--> second.py:1:1" in said
    assert "called from first.py:1" in said


def test_an_exception_shows_only_the_users_frames(folder):
    (folder / "job.py").write_text(
        "import json\n\n\ndef read(text):\n    return json.loads(text)['a']\n\n\nread('{')\n"
    )
    assert failed("job.py", folder).splitlines()[1:] == [
        "  --> job.py:5:12 in read",
        "  |",
        "5 | return json.loads(text)['a']",
        "  |        ^^^^^^^^^^^^^^^^",
        "  = called from job.py:8 <module>",
        "  = help: python shows the whole traceback: python job.py",
    ]


@pytest.mark.parametrize(("end", "said"), [("3", "exit code 3"), ("'no licence'", "no licence")])
def test_a_job_that_stops_itself(folder, end, said):
    (folder / "job.py").write_text(f"import sys\nsys.exit({end})\n")
    shown = failed("job.py", folder)
    assert f"stopped by itself while it was loaded: {said}" in shown
    assert "--> job.py:2:1" in shown


def test_a_job_without_execute(folder):
    (folder / "job.py").write_text("import sys\n\nif len(sys.argv) > 5:\n    print()\n")
    said = failed("job.py", folder)
    assert said.startswith("error: job.py builds no graph: env.execute() was not called\n  --> job.py:4\n")
    (folder / "job.py").write_text("")
    assert "builds no graph" in failed("job.py", folder)


def test_two_jobs_in_one_file(folder):
    (folder / "job.py").write_text(BUILD + 'env.execute("again")\n')
    said = failed("job.py", folder)
    assert "--> job.py:6:1" in said
    assert "env.execute" in said


def test_a_target_survives_json():
    target = JobTarget.parse("shop/job.py", ("--a", "b"), directory="/srv")
    assert JobTarget.from_dict(json.loads(json.dumps(target.as_dict()))) == target
    assert target.command == "python shop/job.py --a b"
    assert JobTarget.parse("shop.job", directory="/srv").is_module

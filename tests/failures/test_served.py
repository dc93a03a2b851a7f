"""What a server says when a process cannot start: the user's line, a few lines, nothing after them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXIT_CONFIG = 78

OPEN_RAISES = """
from mini_flink.datastream import MapFunction, StreamExecutionEnvironment
class Lookup(MapFunction):
    def open(self, runtime_context):
        self.table = {}["url"]
    def map(self, value):
        return value
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/x").map(Lookup()).uid("lookup").reply()
env.execute("raising")
"""

OPEN_RAISES_SAID = """\
error: open() of operator 'Lookup' raised KeyError: 'url'
  --> job.py:5:22 in open
  |
5 | self.table = {}["url"]
  |              ^^^^^^^^^
  = called for operator 'Lookup', made at job.py:9
  = help: the job cannot start before open() succeeds
"""

WORKERS_DIFFER = """
import sys
from mini_flink.datastream import StreamExecutionEnvironment
env = StreamExecutionEnvironment.get_execution_environment()
stream = env.from_requests("/x").map(abs).uid("first")
if "mini_flink.worker.process" in sys.modules:
    stream = stream.map(abs).uid("second")
stream.reply().uid("answer")
env.execute("differing")
"""

WORKERS_DIFFER_SAID = """\
error: worker 0 builds another job than the supervisor: \
operator 3 is map 'second' (abs) here and reply 'answer' in the supervisor
  --> job.py:7
  |
7 | stream = stream.map(abs).uid("second")
  = help: a job must not depend on time, chance, or what differs between processes
"""


HANGS = """
import time
from mini_flink.datastream import StreamExecutionEnvironment
def wait(value):
    time.sleep(value["seconds"])
    return value
env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/x").map(lambda value: wait(value)).uid("waiting").reply()
env.execute("hanging")
"""

HANGS_SAID = """\
worker 0: this is where it is, in operator map
  --> job.py:5:5 in wait
  |
5 | time.sleep(value["seconds"])
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = called from job.py:8 <lambda>
"""

WORDS = ("serve", "job.py", "--port", "0", "--workers", "1", "--gateways", "1", "--data-dir", "data")
LIMIT_S = 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="serve is for Linux")


@pytest.mark.parametrize(
    ("job", "said"), [(OPEN_RAISES, OPEN_RAISES_SAID), (WORKERS_DIFFER, WORKERS_DIFFER_SAID)]
)
def test_a_job_that_cannot_start(tmp_path: Path, job: str, said: str) -> None:
    (tmp_path / "job.py").write_text(job)
    served = subprocess.run(
        [sys.executable, "-m", "mini_flink", *WORDS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert served.stderr == said
    assert served.returncode == EXIT_CONFIG


def until(said: Path, pattern: str) -> re.Match[str]:
    deadline = time.monotonic() + LIMIT_S
    while not (found := re.search(pattern, said.read_text())):
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)
    return found


def test_a_process_that_hangs_says_where_with_the_users_lines_only(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(HANGS)
    said = tmp_path / "said"
    with said.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mini_flink", *WORDS],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        url = until(said, r"http://[\d.]+:\d+")[0]
        with urllib.request.urlopen(f"{url}/x", b'{"seconds": 3.2}', timeout=LIMIT_S) as answer:
            assert answer.status == 200, "the sleep goes on after the question"
        until(said, re.escape(HANGS_SAID))
        server.send_signal(signal.SIGTERM)
        assert server.wait(LIMIT_S) == 0
    finally:
        server.kill()
        server.wait()
    assert "mini_flink/" not in said.read_text()

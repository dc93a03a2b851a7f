"""``python -m bench.reload [TIMES]``: under ``serve --dev``, from a save to the first reply by the new code.

Median and range over so many saves (11), one a second. Needs a machine that does nothing else meanwhile.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLL_SECONDS = 0.005
LIMIT_SECONDS = 30.0
JOB = """\
from mini_flink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from mini_flink.datastream.state import ValueStateDescriptor

VERSION = 0

class Total(KeyedProcessFunction):
    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total"))

    def process_element(self, value, ctx):
        total = (self.total.value() or 0) + 1
        self.total.update(total)
        yield {"total": total, "version": VERSION}

env = StreamExecutionEnvironment.get_execution_environment()
env.from_requests("/total").key_by(lambda value: value["key"]).process(Total()).uid("total").reply()
env.execute("reloaded")
"""


def main(times: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.py"
        job.write_text(JOB)
        words = ["serve", str(job), "--dev", "--port", "0", "--no-admin", "--data-dir", f"{folder}/data"]
        server = subprocess.Popen(
            [sys.executable, "-m", "mini_flink", *words], stderr=subprocess.PIPE, text=True
        )
        try:
            assert server.stderr is not None
            ready = next(
                found for line in server.stderr if (found := re.search(r"Ready +http://(\S+)", line))
            )
            took = [_save(job, ready[1], version) for version in range(1, times + 1)]
        finally:
            server.terminate()
            server.wait()
    print(f"{times} saves: median {statistics.median(took):.2f} s, {min(took):.2f} to {max(took):.2f} s")
    return 0


def _save(job: Path, address: str, version: int) -> float:
    """How long until the version that is saved now answers."""
    time.sleep(1)
    job.write_text(JOB.replace("VERSION = 0", f"VERSION = {version}"))
    began = time.monotonic()
    while _ask(address) != version:
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TimeoutError(f"version {version} does not answer")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def _ask(address: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=LIMIT_SECONDS)
    try:
        connection.request("POST", "/total", json.dumps({"key": "k"}))
        version: int = json.loads(connection.getresponse().read())["version"]
        return version
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 11))

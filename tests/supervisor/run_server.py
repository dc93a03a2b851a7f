"""``python -m tests.supervisor.run_server JOB SETTINGS [LIMIT_MS]``: serve with stand-ins for its processes.

``LIMIT_MS``: how long a change may load a job.
"""

from __future__ import annotations

import json
import sys

from mini_flink.config import Settings
from mini_flink.errors import MiniFlinkError
from mini_flink.jobs import JobTarget
from mini_flink.runners.server import serve
from mini_flink.supervisor import changeover

if __name__ == "__main__":
    modules = dict.fromkeys(("worker", "gateway", "resharder"), "tests.supervisor.stand_in")
    changeover.STILL_LIMIT_MS = {changeover.PREPARE: int(sys.argv[3])} if sys.argv[3:] else {}
    settings = Settings(**{"log": "text", **json.loads(sys.argv[2])})
    try:
        code = serve(settings, JobTarget.parse(sys.argv[1]), child_modules=modules)
    except MiniFlinkError as error:
        print(f"error: {error.message}\n  = help: {error.help}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code)

"""``python -m mini_flink.worker SPEC``: started by the supervisor, not by people."""

import sys

from mini_flink.worker.process import main

sys.exit(main(sys.argv))

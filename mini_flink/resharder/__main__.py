"""``python -m mini_flink.resharder SPEC``: started by the supervisor, not by people."""

import sys

from mini_flink.resharder.process import main

sys.exit(main(sys.argv))

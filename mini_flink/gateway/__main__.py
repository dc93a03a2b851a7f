"""``python -m mini_flink.gateway SPEC``: started by the supervisor, not by people."""

import sys

from mini_flink.gateway.process import main

sys.exit(main(sys.argv))

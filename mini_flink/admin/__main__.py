"""``python -m mini_flink.admin SPEC``: started by the supervisor, not by people."""

import sys

from mini_flink.admin.process import main

sys.exit(main(sys.argv))

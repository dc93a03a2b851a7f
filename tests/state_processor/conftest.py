"""The servers of these tests, and the commands with which they are asked."""

from __future__ import annotations

import sys

collect_ignore = [] if sys.platform == "linux" else ["test_served.py", "test_restored.py"]

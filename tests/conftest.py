"""What all tests have in common."""

from __future__ import annotations

import os

# Tests may run in a container, where a server speaks JSON; most of them read the words for people.
os.environ.setdefault("MINI_FLINK_LOG", "text")

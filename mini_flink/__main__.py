"""``python -m mini_flink`` and the script ``mini-flink``: the same :func:`mini_flink.cli.main`."""

from __future__ import annotations

import sys

from mini_flink.cli import main

if __name__ == "__main__":
    sys.exit(main())

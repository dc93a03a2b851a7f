"""The seed of everything random: 1, or what ``E2E_SEED`` says; printed, so that a failure names it."""

from __future__ import annotations

import os

SEED = int(os.environ.get("E2E_SEED", "1"))
print(f"E2E_SEED={SEED}")

"""Servers as in ``tests.e2e``."""

from __future__ import annotations

from tests.e2e.conftest import collect_ignore_glob, serve

__all__ = ["collect_ignore_glob", "serve"]

"""Imported by each process of a server that has this folder in PYTHONPATH: it measures nothing."""

from __future__ import annotations

import sys
from typing import Any

_PACKAGES = ("mini_flink.worker", "mini_flink.gateway")


def _nothing(*_: Any, **__: Any) -> None:
    """In place of what is left out."""


if sys.argv[:1] == ["-m"] and any(each in _PACKAGES for each in sys.orig_argv):
    from mini_flink.gateway.meter import RouteMeter
    from mini_flink.metrics import Publisher
    from mini_flink.worker.meter import WorkerMeter

    for name in ("batch", "committing", "syncing", "committed", "slept", "publish"):
        setattr(WorkerMeter, name, _nothing)
    RouteMeter.answered = _nothing  # type: ignore[method-assign]
    Publisher.publish = _nothing  # type: ignore[method-assign]

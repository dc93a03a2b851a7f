"""The kinds of operators: one line each."""

from __future__ import annotations

from collections.abc import Mapping

from mini_flink.graph import COLLECTION, REQUESTS
from mini_flink.operators.elementwise import build_filter, build_flat_map, build_map
from mini_flink.operators.operator import Factory
from mini_flink.operators.print import build_print
from mini_flink.operators.process import build_process
from mini_flink.operators.reduce import build_reduce
from mini_flink.operators.reply import build_reply
from mini_flink.operators.source import build_source

FACTORIES: Mapping[str, Factory] = {
    REQUESTS: build_source,
    COLLECTION: build_source,
    "map": build_map,
    "flat_map": build_flat_map,
    "filter": build_filter,
    "process": build_process,
    "reduce": build_reduce,
    "print": build_print,
    "reply": build_reply,
}

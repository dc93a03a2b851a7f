"""The dead letters of one worker: shown, given to their stages again, or dropped, while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mini_flink import wire
from mini_flink.errors import EXIT_TRY_AGAIN
from mini_flink.worker import preview
from mini_flink.worker.host import Host

VALUE_LIMIT = 200
WHOLE_VALUE_LIMIT = 16 * 1024
LIST_LIMIT = 1_000
COMMIT_BYTES = 1 << 20
"""What one commit of many retries may take, so that others are soon served again."""


def look(host: Host, index: int, question: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Answer a question about dead letters: ``do`` is list, show, retry or drop.

    ``ids`` None means all, ``operator`` narrows them. What was retried or dropped is durable by now;
    ``known`` are those of ``ids`` that were there.
    """
    ids, operator = question["ids"], question["operator"]
    found: dict[bytes, dict[str, Any]] = {}
    for place, packed in host.engine.dead_letters():
        letter = wire.unpack(packed)
        if (ids is None or letter["error_id"] in ids) and operator in (None, letter["operator"]):
            found[place] = letter
    if question["do"] in ("list", "show"):
        limit = VALUE_LIMIT if question["do"] == "list" else WHOLE_VALUE_LIMIT
        rows = [shown(index, letter, limit) for letter in list(found.values())[:LIST_LIMIT]]
        return {"dead_letters": rows, "more": len(found) - len(rows)}
    known = [] if ids is None else [letter["error_id"] for letter in found.values()]
    return {**_settle(host, found, now, retry=question["do"] == "retry"), "known": known}


def _settle(host: Host, found: Mapping[bytes, dict[str, Any]], now: float, *, retry: bool) -> dict[str, Any]:
    chosen: dict[bytes, wire.Record | None] = {}
    size = settled = 0
    stages = host.engine.tasks
    able = {place: each for place, each in found.items() if not retry or can_be_retried(each, stages)}
    for count, (place, letter) in enumerate(able.items(), 1):
        chosen[place] = record_of(letter) if retry else None
        size += len(letter["value"])
        if size < COMMIT_BYTES and count < len(able):
            continue
        if host.is_held or host.engine.stalled:
            reason = f"worker has no space or stands still; {settled} were done before"
            return {"reason": reason, "exit_code": EXIT_TRY_AGAIN}
        host.carry_out(host.engine.settle_letters(chosen, now))
        if host.is_held:
            reason = f"there is no space: {len(chosen)} wait for it, {settled} were done before"
            return {"reason": reason, "exit_code": EXIT_TRY_AGAIN}
        settled += len(chosen)
        chosen, size = {}, 0
    return {"retried" if retry else "dropped": settled, "skipped": len(found) - settled}


def can_be_retried(letter: Mapping[str, Any], stages: Mapping[int, Any]) -> bool:
    """Whether it is known where the record goes: not if its key selector raised, or its stage is gone."""
    return letter["subtask"] != wire.FAILED_BEFORE_ROUTING and letter["stage"] in stages


def record_of(letter: Mapping[str, Any]) -> wire.Record:
    """The record that failed, as one that no request caused."""
    return wire.Record(
        letter["stage"], letter["subtask"], letter["key"], letter["value"], *wire.NO_ORIGIN, 0, 0
    )


def shown(worker: int, letter: Mapping[str, Any], limit: int = VALUE_LIMIT) -> dict[str, Any]:
    """A dead letter as plain data for people and programs."""
    error = letter["error"]
    failed_at = datetime.fromtimestamp(letter["failed_ms"] / 1000, UTC)
    return {
        "failed_at": failed_at.isoformat(timespec="milliseconds"),
        "error_id": letter["error_id"],
        "operator": letter["operator"],
        "key": _text(letter["key"], limit),
        "value": _text(letter["value"], limit),
        "error": f"{error['type']}: {error['message']}",
        "frames": error.get("frames", []),
        "request_id": letter["request_id"],
        "worker": worker,
    }


def _text(data: bytes | None, limit: int) -> str:
    """A key or value to read."""
    return "" if data is None else str(preview.of_value(data, limit)["text"])

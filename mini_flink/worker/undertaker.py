"""Records that failed: an id for the client, some lines for the log, a dead letter for later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mini_flink import ids, keys, values, wire
from mini_flink.core.base import Burial
from mini_flink.errors import DecodeError, Location, RecordError
from mini_flink.events import Say
from mini_flink.failures import Failure, FailureLog, Notice, describe, explain, preview
from mini_flink.operators.failure import OperatorFailure

LETTER_FORMAT = 1


class Undertaker:
    """Buries the failed records of one worker. ``say`` prints.

    ``uids`` names operators by their numbers, ``locations`` says where those of this job were made,
    ``trace_id`` which trace the record at hand belongs to. With ``explains`` the client hears what the log
    does.
    """

    def __init__(
        self,
        worker: int,
        incarnation: int,
        folder_id: int,
        uids: Mapping[int, str],
        locations: Mapping[int, Location],
        log: FailureLog,
        say: Say,
        *,
        explains: bool = False,
        trace_id: Callable[[], str] = str,
    ) -> None:
        self._worker = worker
        self._incarnation = incarnation
        self._folder_id = folder_id
        self._uids = uids
        self._locations = locations
        self._log = log
        self._say = say
        self._trace_id = trace_id
        self._explains = explains
        self._count = 0
        self.last: dict[str, Any] | None = None
        """The last failure, for the supervisor: which, where and when, nothing of what was in the record."""

    def bury(self, record: wire.Record, error: RecordError, now_ms: int) -> Burial:
        """The error id, the operator's uid and the dead letter of a record that failed."""
        if record.subtask == wire.FAILED_BEFORE_ROUTING:
            return self._bury_unrouted(record, now_ms)
        self._count += 1
        error_id = f"{self._worker:x}-{self._incarnation:x}-{self._count:x}"
        cause: BaseException = error.__cause__ or error
        operator = error.uid if isinstance(error, OperatorFailure) else self._uid(record.stage)
        request_id = self._request_id(record)
        key = _key_text(record.key)
        made = error.location or self._locations.get(record.stage)
        failure = Failure(operator, cause, key, request_id, error_id, made, self._trace_id())
        self._tell(self._log.record(failure, now_ms))
        letter = self._letter(record, error_id, operator, describe(cause, made), now_ms)
        return Burial(error_id, operator, letter, self._explain(record, cause, key, made))

    def _bury_unrouted(self, record: wire.Record, now_ms: int) -> Burial:
        """The key selector raised in the gateway, which has logged it: only the dead letter is to be made."""
        error_id, operator, description, value, *detail = wire.unpack(record.value)
        letter = self._letter(record._replace(value=value), error_id, operator, description, now_ms)
        return Burial(error_id, operator, letter, *detail)

    def _explain(
        self, record: wire.Record, cause: BaseException, key: str, made: Location | None
    ) -> dict[str, Any] | None:
        """What the client is told beside, if it is the developer's."""
        if not self._explains:
            return None
        return {**explain(cause, made), "record": _preview(record.value), "key": key}

    def _letter(
        self, record: wire.Record, error_id: str, operator: str, description: dict[str, object], now_ms: int
    ) -> bytes:
        frames = description["frames"]
        self.last = {
            "failed_ms": now_ms,
            "operator": operator,
            "error": description["type"],
            "error_id": error_id,
            "place": frames[-1] if isinstance(frames, list) and frames else "",
        }
        letter: dict[str, Any] = {
            "format": LETTER_FORMAT,
            "error_id": error_id,
            "operator": operator,
            "stage": record.stage,
            "subtask": record.subtask,
            "key": record.key,
            "value": record.value,
            "request_id": self._request_id(record),
            "timestamp_ms": record.timestamp_ms,
            "failed_ms": now_ms,
            "error": description,
        }
        packed: bytes = wire.pack(letter)
        return packed

    def _uid(self, number: int) -> str:
        return self._uids.get(number, f"number {number}")

    def _request_id(self, record: wire.Record) -> str:
        if record.gateway < 0:
            return ""
        return ids.request_id(self._folder_id, record.gateway, record.incarnation, record.request)

    def say_repeats(self, now_ms: int) -> None:
        """Print the counts of repeated failures that are due."""
        self._tell(self._log.due(now_ms))

    def close(self) -> None:
        """Print the counts that are still open."""
        self._tell(self._log.close())

    def _tell(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._say("error", notice.text, name=notice.name, plain=notice.plain, **notice.fields)


def _preview(value: bytes) -> str:
    try:
        return preview(values.decode(value))
    except DecodeError as error:  # it may be what failed
        return f"<{error}>"


def _key_text(key: bytes | None) -> str:
    if key is None:
        return ""
    try:
        return repr(keys.decode_key(key))
    except DecodeError:
        return key.hex()

"""reply: the value becomes the answer to its request, encoded here, so that a failure is this record's."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from mini_flink.datastream.reply import Reply, checked_content_type, checked_headers, checked_status
from mini_flink.graph import ReplyOptions
from mini_flink.json_codec import encode_reply
from mini_flink.operators.base import Emit
from mini_flink.operators.failure import USER_ERRORS
from mini_flink.operators.operator import Operator

JSON = "application/json"
BYTES = "application/octet-stream"
NO_CONTENT = 204
WITHOUT_BODY = frozenset((NO_CONTENT, 205, 304))

_log = logging.getLogger("mini_flink")


class Answer(NamedTuple):
    """What goes to the gateway, which only writes it."""

    status: int
    headers: list[tuple[str, str]]
    content_type: str | None
    body: bytes


def build_reply(operator: Operator, downstream: Emit) -> Emit:  # noqa: ARG001 - nothing follows a sink
    options = operator.node.options
    if not isinstance(options, ReplyOptions):
        raise TypeError(f"{operator.node.uid} has no options of a reply")
    record, fail, send, counts = operator.record, operator.fail, operator.output.reply, operator.counts
    headers = list(options.headers)
    status, content_type, number = options.status, options.content_type, operator.number

    def run(value: Any) -> None:
        if record.origin is None:
            if not counts.replies_ignored:
                _log.warning("operator %r has a value to reply to no request: ignored", operator.node.name)
            counts.replies_ignored += 1
            return
        try:
            if isinstance(value, Reply):
                answer = _of_reply(value, options)
            else:
                answer = _encoded(status, headers, content_type, value)
        except USER_ERRORS as error:
            fail(error)
        counts.records_out += 1
        send(number, *answer)

    return run


def _of_reply(reply: Reply, options: ReplyOptions) -> Answer:
    """The reply's own status, headers and type; the sink's headers and type where it names none."""
    headers = checked_headers(reply.headers)
    named = {name.lower() for name, _ in headers}
    headers += [pair for pair in options.headers if pair[0].lower() not in named]
    own_type = None if reply.content_type is None else checked_content_type(reply.content_type)
    return _encoded(checked_status(reply.status), headers, own_type or options.content_type, reply.body)


def _encoded(status: int, headers: list[tuple[str, str]], content_type: str | None, body: Any) -> Answer:
    if body is None:
        return Answer(NO_CONTENT if status == 200 else status, headers, None, b"")
    if status in WITHOUT_BODY:
        return Answer(status, headers, None, b"")
    if isinstance(body, bytes):
        return Answer(status, headers, content_type or BYTES, body)
    return Answer(status, headers, content_type or JSON, encode_reply(body))

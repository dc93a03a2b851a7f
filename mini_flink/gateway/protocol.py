"""One connection: uvicorn's httptools protocol with the limits and deadlines that it lacks, and a fast lane.

Owns what a connection may do: how large and how slow a head and a body may be, what is ambiguous and refused,
in which order answers leave, how it ends. Never routes and never decodes a body.

The body of a request that has a direct endpoint goes straight there, and its answer straight to the
transport, without a task, a future or a scope; uvicorn's ASGI cycle serves all others, and those that were
pipelined behind another. ``DirectCycle`` stands where uvicorn keeps its cycle, so that pipelining,
keep-alive, disconnects and shut-down are one bookkeeping for both lanes.

What the server itself refuses (400, 408, 413, 429, 431) waits for the answers before it. Then the connection
is half-closed and its input discarded for a while: closing with unread input would reset the connection, and
the client would see that instead of the answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from mini_flink.gateway import problem
from mini_flink.gateway.connections import LINGER_BYTES, LINGER_S, PIPELINED_REQUESTS, Connections
from mini_flink.gateway.direct import DirectCycle
from mini_flink.gateway.port import JSON_HEADERS, Answer
from mini_flink.gateway.refusal import RefusalError, answer_to, check_version
from mini_flink.gateway.wire_format import encode, sendable

# What is being received. Plain numbers: they are compared several times per request.
IDLE: Final = 0  # no byte of a request so far
HEAD: Final = 1
BODY: Final = 2
WAITING: Final = 3  # the request is complete, its answer is not
DISCARDING: Final = 4  # no further request is read
INCOMPLETE: Final = (HEAD, BODY)

NOTED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})


class HttpProtocol(HttpToolsProtocol):
    """See the module. The tick calls ``check_deadlines``, the parser ``on_…``, the transport all else."""

    def __init__(
        self,
        shared: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.shared = shared
        self.direct = DirectCycle()
        self.running: RequestResponseCycle | None = None  # of the ASGI lane; `cycle` is the one parsed last
        self.refusal: Answer | None = None  # waits for the answers before it
        self.last_request = False  # after this request no other is read
        self.upgrade_ignored = False
        self.answered_early = False  # before the body was complete
        self.phase = IDLE
        self.timed_phase = IDLE  # the phase that the deadline and the next two are for
        self.watched_body_bytes = 0
        self.quiet_bytes = 0  # received without progress
        self.deadline = math.inf
        self.unsent_bytes = 0
        self.write_deadline = math.inf
        self.discarded_bytes = 0

    # --- the transport's side -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.shared.opened(self)
        self._enter(IDLE, self.shared.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.direct.disconnected = True
        if self.running is not None:
            self.running.disconnected = True
            self.running.message_event.set()
        super().connection_lost(exc)
        self.shared.closed(self)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has sent all it wants may close its side and still get its answer."""
        if self.phase != WAITING:
            return False
        self._end_after_answers()
        return True

    def data_received(self, data: bytes) -> None:
        if self.phase == DISCARDING:
            self._discard(len(data))
            return
        self._feed(data)
        phase = self.phase
        if phase in INCOMPLETE:
            self._watch(phase, len(data))
        direct = self.direct
        if direct.due:
            direct.due = False
            direct.began_ns = time.monotonic_ns()
            direct.endpoint.submit(direct.headers, bytes(direct.content), self.answer)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self.last_request and self.phase != BODY:
                self._enter(DISCARDING, math.inf)
            else:
                self._refuse(answer_to(error))

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Parse the request again as one that asks for no other protocol.

        The parser stops at such a head without looking for a body; what follows would be taken for a request.
        """
        self.upgrade_ignored = False
        version = self.parser.get_http_version().encode("ascii")
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"".join((*head, b"\r\n", rest)))

    def _discard(self, size: int) -> None:
        self.discarded_bytes += size
        if self.discarded_bytes > LINGER_BYTES:
            self.transport.close()

    # --- the parser's side --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.last_request:
            raise RefusalError(problem.malformed("a request after the last"))
        self.phase = HEAD
        self.timed_phase = IDLE
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.head_bytes = 0
        self.body_bytes = 0
        self.content_length = 0
        self.host_fields = 0
        self.special = False  # says something of the connection or of the transfer
        self.chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head_bytes += len(name) + len(value) + 4
        if self.phase == BODY:  # a trailer: counts, but is no header
            if self._head_is_too_large():
                raise RefusalError(self._head_too_large())
            return
        name = name.lower()
        self.headers.append((name, value))
        if name in NOTED:
            self._note(name, value)

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self.host_fields += 1
        elif name == b"content-length":
            self.content_length = int(value)
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        else:
            self.special = True
            self.chunked |= name == b"transfer-encoding"

    def on_headers_complete(self) -> None:
        parser = self.parser
        if parser.should_upgrade():
            self._ignore_upgrade()
            return
        keep_alive = self._check_head()
        cycle = self.cycle
        endpoint = None
        if (cycle is None or cycle.response_complete) and not self.expect_100_continue:
            endpoint = self.shared.find_direct(parser.get_method(), self.url)
        if endpoint is None:
            self._begin_asgi()
            self.cycle.keep_alive = keep_alive
        else:
            self.cycle = self.direct
            self.direct.begin(endpoint, self.headers, keep_alive)
        self.last_request = not keep_alive
        self.phase = BODY

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.body_bytes > self.shared.max_body_bytes:
            raise RefusalError(problem.body_too_large(self.shared.max_body_bytes))
        if self.cycle is self.direct:
            self.direct.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.upgrade_ignored:
            return
        self.phase = WAITING
        if self.cycle is self.direct:
            # Not now: what is raised here would be taken for a mistake of the client.
            self.direct.due = True
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            self._enter(IDLE, self.shared.keep_alive_timeout_s)

    def _ignore_upgrade(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise RefusalError(problem.tunnel_refused())
        self.upgrade_ignored = True

    def _check_head(self) -> bool:
        """Refuse what is too large or ambiguous; whether the connection may live on."""
        keep_alive: bool = self.parser.should_keep_alive()
        if self._head_is_too_large():
            raise RefusalError(self._head_too_large())
        if self.special or self.host_fields != 1 or not keep_alive:
            # Only then: the parser writes the version as text, which takes longer than all the rest here.
            version = self.parser.get_http_version()
            keep_alive = check_version(version, self.host_fields, chunked=self.chunked) and keep_alive
        if self.content_length > self.shared.max_body_bytes:
            raise RefusalError(problem.body_too_large(self.shared.max_body_bytes))
        return keep_alive and not self.shared.draining

    def _head_is_too_large(self) -> bool:
        shared = self.shared
        return (
            self.head_bytes + len(self.url) > shared.max_header_bytes
            or len(self.headers) > shared.max_header_fields
        )

    def _head_too_large(self) -> Answer:
        return problem.head_too_large(self.shared.max_header_bytes, self.shared.max_header_fields)

    def _begin_asgi(self) -> None:
        if len(self.pipeline) >= PIPELINED_REQUESTS:
            raise RefusalError(problem.too_many_pipelined(PIPELINED_REQUESTS))
        url, headers, expects_100 = self.url, self.headers, self.expect_100_continue
        if httptools.parse_url(url).path is None:
            raise RefusalError(problem.malformed("The URL has no path."))
        super().on_message_begin()  # makes the scope, and forgets what was parsed
        self.url, self.headers, self.expect_100_continue = url, headers, expects_100
        self.scope["headers"] = headers
        super().on_headers_complete()

    # --- answers ------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def answer(self, answer: Answer) -> None:
        """The endpoint's answer to the request of the fast lane."""
        direct = self.direct
        direct.endpoint.answered(answer.status, direct.began_ns)
        if direct.disconnected or direct.response_complete or self.transport.is_closing():
            return
        direct.response_complete = True
        if answer.headers is not JSON_HEADERS:
            answer = sendable(answer)
        keep_alive = direct.keep_alive
        self.transport.write(encode(answer, self.shared.date_line, keep_alive=keep_alive))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """An answer has been written, by either lane: the next in the pipeline, a refusal, or rest."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.refusal is not None:
            self._send_refusal(self.refusal)
        elif self.phase == WAITING:
            self._enter(IDLE, self.shared.keep_alive_timeout_s)

    def _refuse(self, answer: Answer) -> None:
        """Read no further request; send ``answer`` once the requests before this one have theirs."""
        self.shared.refused(answer.status)
        behind_others = self._drop_unfinished() if self.phase == BODY else self._is_busy()
        self.last_request = True
        self._enter(DISCARDING, math.inf)
        if behind_others:
            self.refusal = answer
        else:
            self._send_refusal(answer)

    def _drop_unfinished(self) -> bool:
        """Forget the request whose body is not complete; whether others still wait for their answers."""
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return True
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()
        self.answered_early = cycle.response_started
        return False

    def _send_refusal(self, answer: Answer) -> None:
        if not self.answered_early:
            self.transport.write(encode(answer, self.shared.date_line, keep_alive=False))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.refusal = None
        self._enter(DISCARDING, LINGER_S)

    # --- time and the end ---------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more of its requests."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """Take no further request, and close when there is nothing left to answer."""
        if self.phase == HEAD:  # becomes the last request
            return
        if self._is_busy():
            self._end_after_answers()
        else:
            self.transport.close()

    def is_at_work(self) -> bool:
        """Whether a request of it waits for its answer."""
        return self.phase == WAITING

    def drop(self) -> None:
        """Others need its place."""
        self.transport.abort()

    def check_deadlines(self, now: float) -> None:
        """End what takes too long. A request that waits for its answer has no deadline here."""
        if self._is_stuck(now):
            self.transport.abort()
        elif self.phase == WAITING or now < self.deadline:
            return
        elif self.phase in INCOMPLETE and self.flow.read_paused:  # it is us who do not read
            self.deadline = now + self.shared.header_timeout_s
        elif self.phase == BODY:
            self._refuse(problem.body_unfinished())
        elif self.phase == HEAD and self._is_busy():
            self._end_after_answers()
            self._enter(DISCARDING, math.inf)
        else:
            self.transport.close()

    def _is_stuck(self, now: float) -> bool:
        """Has the client read nothing of what waits for it, for as long as it has for a body?"""
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes == 0 or unsent_bytes != self.unsent_bytes:
            self.unsent_bytes = unsent_bytes
            self.write_deadline = now + self.shared.body_timeout_s
        return now >= self.write_deadline

    def _watch(self, phase: int, received_bytes: int) -> None:
        """A head or a body is incomplete after these bytes: set its deadline, or see to its size."""
        if self.timed_phase != phase:
            self.timed_phase = phase
            self.quiet_bytes = 0
            timeout_s = self.shared.header_timeout_s if phase == HEAD else self.shared.body_timeout_s
            self.deadline = self.loop.time() + timeout_s
        elif self.body_bytes != self.watched_body_bytes:
            self.quiet_bytes = 0
        else:
            self.quiet_bytes += received_bytes
        self.watched_body_bytes = self.body_bytes
        if self.quiet_bytes > self.shared.max_header_bytes or self._head_is_too_large():
            self._refuse(self._head_too_large())

    def _enter(self, phase: int, timeout_s: float) -> None:
        self.phase = phase
        self.deadline = self.loop.time() + timeout_s

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_after_answers(self) -> None:
        self.last_request = True
        self.cycle.keep_alive = False

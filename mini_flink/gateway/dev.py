"""What only ``serve --dev`` does at the door: a line for each request, and problems told to the developer.

A failed record's 500 holds what the log says of it: error, source lines, record. A browser gets it as a page,
all others as the JSON that it is. Only who asks for this host by a name of this host hears of it: a page of
the web that the developer's browser has open may have let its own name point here.

The server that has this listens on loopback addresses only, see ``runners.server``.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from mini_flink.gateway import problem_page
from mini_flink.gateway.access_log import AccessLog
from mini_flink.gateway.bodies import Incoming
from mini_flink.gateway.port import Answer, Done, Headers
from mini_flink.gateway.problem import CONTENT_TYPE, PROBLEM_TYPE
from mini_flink.gateway.routes import SourceRoute

SECRETS = frozenset({"error", "location", "frames", "record", "key", "page"})
"""The members of a failed record's problem that are told to developers only."""
EXPECTED = {
    "dict": "a JSON object",
    "object": "any JSON",
    "bytes": "any bytes",
    "request": "any JSON, or no body",
}
"""What a source takes, by the kind of its body."""


Submit = Callable[[Incoming, Done], None]


class DevDoor:
    """Looks on at requests and their answers. ``say`` prints a line; None if nobody wants them.

    ``page_url`` is where the page of operators is, empty if there is none; ``examples`` are bodies to try, by
    the number of their source.
    """

    def __init__(
        self, page_url: str, say: Callable[[str], None] | None, examples: Mapping[int, str] | None = None
    ) -> None:
        self._page_url = page_url
        self._examples = examples or {}
        self._say = say
        self._log = AccessLog()
        self._key = ""

    def hear_key(self, key: Any) -> None:
        """The key of the request that is being let in."""
        self._key = repr(key)

    def looks_on(self, let_in: Submit, route: SourceRoute) -> Submit:
        """``let_in``, of which requests and answers are looked at."""
        example = self._examples.get(route.source, "{}") if route.body == "dict" else "{}"
        expected = EXPECTED[route.body] + ("" if example == "{}" else f", such as {example}")

        def submit(incoming: Incoming, done: Done) -> None:
            self._submit(let_in, expected, incoming, done)

        return submit

    def _submit(self, let_in: Submit, expected: str, incoming: Incoming, done: Done) -> None:
        began_ns = time.monotonic_ns()
        query = f"?{incoming.query_string.decode('latin-1')}" if incoming.query_string else ""
        request = f"{incoming.method} {incoming.path}{query}"
        key = ""

        def answered(answer: Answer) -> None:
            self._note(request, answer.status, began_ns, key or self._key)
            done(self.present(answer, incoming.headers, expected))

        self._key = ""
        let_in(incoming, answered)
        key, self._key = self._key, ""

    def refused(self, method: str, path: str, headers: Headers, answer: Answer) -> Answer:
        """The answer to a request that no source takes."""
        self._note(f"{method} {path}", answer.status, time.monotonic_ns(), "")
        return self.present(answer, headers)

    def tick(self) -> None:
        """Say what is due."""
        self._tell(self._log.due(time.monotonic()))

    def _note(self, request: str, status: int, began_ns: int, key: str) -> None:
        if self._say is not None:
            ms = (time.monotonic_ns() - began_ns) / 1e6
            self._tell(self._log.answered(request, status, ms, key, time.monotonic()))

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            if self._say is not None:
                self._say(line)

    def present(self, answer: Answer, headers: Headers, expected: str = "") -> Answer:
        """The answer as whoever asked is to see it: a problem with all that is known, or with less."""
        content = _problem_in(answer)
        if content is None:
            return answer
        if not _is_local(headers):
            content = {name: value for name, value in content.items() if name not in SECRETS}
            return answer._replace(body=_encoded(content))
        if self._page_url and "error_id" in content:
            content["page"] = f"{self._page_url}/#deadletters?id={quote(content['error_id'])}"
        if content["code"] == "bad-body" and expected:
            content["expected"] = expected
        if not _wants_html(headers):
            return answer._replace(body=_encoded(content))
        others = [header for header in answer.headers if header != CONTENT_TYPE]
        return Answer(answer.status, (*problem_page.HEADERS, *others), problem_page.render(content))


def _problem_in(answer: Answer) -> dict[str, Any] | None:
    """The members of a problem of the server's own; a job may have others."""
    if CONTENT_TYPE not in answer.headers:
        return None
    try:
        content = json.loads(answer.body)
    except ValueError:
        return None
    is_ours = isinstance(content, dict) and str(content.get("type", "")).startswith(PROBLEM_TYPE)
    return content if is_ours and "code" in content else None


def _encoded(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _header(headers: Headers, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == wanted), "")


def _is_local(headers: Headers) -> bool:
    """Whether the request names this host as only this host is named."""
    host = _header(headers, b"host").strip()
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _wants_html(headers: Headers) -> bool:
    """Whether this is a browser that shows a page: HTML is named, and not after JSON."""
    qualities = dict(map(_accepted, _header(headers, b"accept").split(",")))
    html = qualities.get("text/html", 0.0)
    json_quality = max(qualities.get("application/json", 0.0), qualities.get("application/problem+json", 0.0))
    return html > 0 and html >= json_quality


def _accepted(part: str) -> tuple[str, float]:
    kind, *parameters = (word.strip().lower() for word in part.split(";"))
    quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    try:
        return kind, float(quality)
    except ValueError:
        return kind, 0.0

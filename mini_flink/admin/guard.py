"""Who may ask, and what: names of this host only, pages of this address only, the token if there is one.

A page of another site that the operator's browser has open must neither read nor change anything: its
requests name another origin, or, by a name that was made to point here, another host.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from mini_flink.spec import AdminSpec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES = 64 * 1024
READS = ("GET", "HEAD")
_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared only
_OPEN = ("/", "/healthz")
"""What holds nothing of the job, and what a page needs to ask for the token."""

_CSP = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def policy(page: str) -> str:
    """What a page may load: what is here, and what stands in it as it stands in it."""
    inline = re.findall(r"<script type=\"importmap\">(.*?)</script>", page, flags=re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline)
    return _CSP.format(scripts="".join(f" 'sha256-{digest}'" for digest in digests))


class Refusal(Exception):
    """A request that is not answered: RFC 9457 problem details."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        kind = f"urn:mini-flink:problem:{self.code}"
        content = {"type": kind, "title": self.code.replace("-", " "), "status": self.status,
                   "detail": self.detail, "code": self.code}  # fmt: skip
        return json.dumps(content).encode()


class Guard:
    """Stands before the application."""

    def __init__(self, app: App, spec: AdminSpec, page: str = "") -> None:
        """``page`` is the text of the page: its import map alone stands in it, not in a file."""
        self._app = app
        self._headers = {**HEADERS, "content-security-policy": policy(page)}
        self._spec = spec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            headers = _headers(scope)
            self.check(scope["method"], scope["path"], headers)
            scope["mini_flink.has_token"] = bool(self._spec.token)
            if int(headers.get("content-length", "0") or 0) > BODY_BYTES:
                raise Refusal(413, "body-too-large", f"at most {BODY_BYTES} bytes are taken")
        except Refusal as refusal:
            await refuse(send, refusal)
            return
        await self._app(scope, receive, _with_headers(send, self._headers))

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Refusal if a request with these headers is not to be answered."""
        host = headers.get("host", "")
        if not self._is_own(host):
            raise Refusal(403, "foreign-host", f"this server is not called {host!r}")
        origin = headers.get("origin")
        if method not in READS and origin is not None and origin != f"http://{host}":
            raise Refusal(403, "foreign-origin", "a page of another site may not change anything here")
        if method not in READS and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refusal(403, "foreign-origin", "a page of another site may not change anything here")
        if self._spec.token and path not in _OPEN and not path.startswith("/static/"):
            self._check_token(headers)

    def _is_own(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        if not name or port != str(self._spec.port):
            return False
        own = self._spec.host.strip("[]")
        name = name.strip("[]").lower()
        if name == "localhost" or name == own.lower():
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # No name can be made to point here by somebody else if it is an address.
        return address.is_loopback or own in _WILDCARDS

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if not is_token(self._spec.token, shown_token(headers)):
            raise Refusal(401, "token-wanted", "show the token: Authorization: Bearer …",
                          {"www-authenticate": "Bearer"})  # fmt: skip


def shown_token(headers: Mapping[str, str]) -> str:
    """The token of a request."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def is_token(token: str, shown: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(token.encode(), shown.encode("utf-8", "replace"))


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name; a name that is there twice, where one is due, is no header at all."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        found[key] = "" if key in found and key in ("host", "origin") else value.decode("latin-1")
    return found


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer with the problem."""
    headers = {"content-type": "application/problem+json", **HEADERS, **refusal.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": refusal.body()})


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(name.encode(), value.encode()) for name, value in headers.items()]
            message["headers"] = [*message.get("headers", ()), *more]
        await send(message)

    return sending

"""A problem as a page for a browser: one file of text, without a script, that loads nothing.

All that stands in it may come from the request: everything is escaped, and the page's policy allows nothing
but its own style. Called by ``dev``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; }
pre, code { font: .9rem/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid #8886; border-radius: .3rem; }
dt { font-weight: 600; margin-top: .8rem; }
dd { margin: 0; }
mark { background: none; color: #c0392b; font-weight: 700; }
@media (prefers-color-scheme: dark) { mark { color: #ff8a80; } }
"""
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'".encode(),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

_WORDS = {
    "record": "The record",
    "key": "Its key",
    "operator": "Operator",
    "error_id": "Error id",
    "expected": "What is taken here",
}
"""What stands in the page as it is, in this order."""


def render(problem: Mapping[str, Any]) -> bytes:
    """The page of a problem of ``problem.py``, with the members that ``dev`` adds."""
    title = escape(f"{problem.get('status', '')} {problem.get('title', '')}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{''.join(_parts(problem))}</body></html>\n"
    ).encode("utf-8", "replace")


def _parts(problem: Mapping[str, Any]) -> Iterator[str]:
    if detail := problem.get("detail"):
        yield f"<p>{escape(str(detail))}</p>"
    if error := problem.get("error"):
        yield f"<pre><mark>{escape(str(error))}</mark></pre>"
    for frame in problem.get("frames") or ():
        yield _frame(frame)
    if routes := problem.get("inputs"):
        items = "".join(f"<li><code>{escape(str(route))}</code></li>" for route in routes)
        yield f"<p>The job takes:</p><ul>{items}</ul>"
    facts = [(word, problem[name]) for name, word in _WORDS.items() if problem.get(name)]
    yield "<dl>" + "".join(f"<dt>{word}</dt><dd><code>{escape(str(it))}</code></dd>" for word, it in facts)
    yield "</dl>"
    if page := problem.get("page"):
        yield f'<p><a href="{escape(str(page))}">The dead letter, to be retried or dropped</a></p>'


def _frame(frame: Mapping[str, str]) -> str:
    function = f" in {frame['function']}" if frame["function"] not in ("", "<module>") else ""
    lines = [escape(f"{frame['place']}{function}")]
    if frame["source"]:
        lines += ["", escape(frame["source"])]
    if frame["caret"]:
        lines.append(f"<mark>{escape(frame['caret'])}</mark>")
    return "<pre>" + "\n".join(lines) + "</pre>"

"""Numbers as people read them; programs get them exactly, in JSON.

Three things are never mixed: ``0`` was measured, ``–`` does not apply, ``?`` is not known. Called by the
tables of ``cli``, by ``top`` and ``bar``; the page of operators writes its numbers the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from mini_flink.failures import printable

LONGEST_ESCAPE = len(r"\U0010ffff")
NONE = "–"
UNKNOWN = "?"


def known(value: float | None, write: Callable[[float], str]) -> str:
    """A measured value as ``write`` has it; one that is not known says so."""
    return UNKNOWN if value is None else write(value)


def size(number: float) -> str:
    """Bytes: ``1.8 GB``."""
    return _scaled(number, (" B", " KB", " MB", " GB", " TB"), 1024)


def amount(number: float) -> str:
    """A count or a rate: ``12.4k``."""
    return _scaled(number, ("", "k", "M", "G", "T"), 1000)


def _scaled(number: float, units: Sequence[str], step: int) -> str:
    place = 0
    while abs(number) >= step * 0.9995 and place < len(units) - 1:
        number /= step
        place += 1
    whole = number == 0 or abs(number) >= 100 or (place == 0 and float(number).is_integer())
    digits = 0 if whole else 1 if abs(number) >= 10 else 2
    text = f"{number:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if digits else text) + units[place]


def duration(seconds: float) -> str:
    """``3 h 12 m``; below a minute ``4.2 s``, below a second ``17 ms``, below that ``250 µs``."""
    if seconds < 0.0009995 and seconds:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995 and seconds:
        return f"{_short(seconds * 1000)} ms"
    if seconds < 59.5:
        return f"{_short(seconds)} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60) if seconds < 600 else int(seconds // 60)
    if minutes < 60:
        return f"{minutes} m"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} m" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:.0f}"


def percent(share: float) -> str:
    """``97 %``; what is there and rounds to nothing is ``<1 %``."""
    return "<1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")


def exact(number: int) -> str:
    """A whole number: ``12,345``."""
    return f"{number:,}"


def clock(unix_ms: float) -> str:
    """The local time of an event; with the day if it is not of today."""
    then = datetime.fromtimestamp(unix_ms / 1000)
    return then.strftime("%H:%M:%S" if then.date() == datetime.now().date() else "%Y-%m-%d %H:%M:%S")


def plain(text: str) -> str:
    """On one line, without what a terminal would obey: keys and messages are other people's."""
    return text if text.isprintable() else printable(text, limit=len(text) * LONGEST_ESCAPE)


def shorten(text: str, width: int) -> str:
    """At most ``width`` long: the middle goes, since names of one family differ at both ends."""
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}" if width > 1 else "…"[:width]

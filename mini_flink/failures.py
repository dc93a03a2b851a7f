"""What is said about a failure: of one record in the log, of a start on the terminal, in a dead letter.

Owns the wording: the user's own frames, the expression with a caret under it, cut and printable text, and the
counting of repeats (:class:`FailureLog`, a machine: it is told the time and returns text). Never prints.

Called by workers and gateways for records, by every process's main for errors of the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from mini_flink.errors import Location, MiniFlinkError
from mini_flink.source import (
    Frame,
    excerpt,
    frames,
    picture,
    picture_of_operator,
    running_frames,
    users_frames,
)

TEXT_LIMIT = 200
RECORD_LINES = 10
RECORD_LIMIT = 2000
EXPLAINED_FRAMES = 10
ERROR_LINES = 8
DETAIL_LINES = 20
TRACE_LINES = 1000
TRACE_LINE_LIMIT = 500
REPEAT_WINDOW_MS = 10_000
WINDOWS_LIMIT = 256
CHAIN_LIMIT = 8


@dataclass(frozen=True, slots=True)
class Failure:
    """One record that failed: ``key`` is its key as text, all but the operator may be empty.

    ``location`` is where the operator was made, for a failure that none of the user's own lines raised.
    ``trace_id`` is that of the trace that the record belongs to, if any.
    """

    operator: str
    exception: BaseException
    key: str = ""
    request_id: str = ""
    error_id: str = ""
    location: Location | None = None
    trace_id: str = ""


def printable(text: str, limit: int = TEXT_LIMIT) -> str:
    """``text`` on one line, without control characters, at most ``limit`` characters.

    >>> printable("a" + chr(10) + chr(27) + "b")
    'a\\\\n\\\\x1bb'
    """
    cut = text[: limit + 1]
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in cut
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def type_name(exception: BaseException) -> str:
    """``KeyError``, or ``shop.errors.OutOfStock``: the module is left out if built in, the job or ours."""
    kind = type(exception)
    plain = kind.__module__ in ("builtins", "__main__") or _is_ours(exception)
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def message_of(exception: BaseException) -> str:
    """The text of an exception, cut and printable, even if its own ``__str__`` raises."""
    try:
        text = str(exception)
    except Exception as error:  # the user's own __str__
        text = f"<its text raised {type(error).__name__}>"
    return printable(text)


def describe(exception: BaseException, made: Location | None = None) -> dict[str, object]:
    """Plain data for a dead letter: ``type``, ``message``, and the user's ``frames``, outermost first.

    Without any frame of the user's the line stands there where the operator was ``made``.
    """
    where = users_frames(exception.__traceback__)
    if not where and made is not None:
        where = [Frame(made.file, made.line, made.function)]
    return {
        "type": type_name(exception),
        "message": message_of(exception),
        "frames": [f"{frame.file}:{frame.line} {frame.function}" for frame in where],
    }


def explain(exception: BaseException, made: Location | None = None) -> dict[str, Any]:
    """Plain data for whoever develops the job: ``error``, ``location``, and the user's ``frames``, innermost
    first, each with its source line and the carets under the expression.
    """
    where = users_frames(exception.__traceback__)[::-1]
    if not where and made is not None:
        where = [Frame(made.file, made.line, made.function)]
    return {
        "error": summary(exception),
        "location": where[0].place if where else "",
        "frames": [_explained(frame) for frame in where[:EXPLAINED_FRAMES]],
    }


def _explained(frame: Frame) -> dict[str, str]:
    source, carets = excerpt(frame)
    column = "" if frame.start is None else f":{frame.start + 1}"
    return {"place": frame.place + column, "function": frame.function, "source": source, "caret": carets}


def preview(value: object) -> str:
    """A record to read: cut, on one line, even if its own ``__repr__`` raises."""
    try:
        text = repr(value)
    except Exception as error:  # the user's own __repr__
        text = f"<its text raised {type(error).__name__}>"
    return printable(text, RECORD_LIMIT)


def summary(exception: BaseException) -> str:
    """``KeyError: 'price'``; the bare sentence of an error of ours, which needs no name."""
    text = message_of(exception)
    if text and _is_ours(exception):
        return text
    return f"{type_name(exception)}: {text}" if text else type_name(exception)


def _is_ours(exception: BaseException) -> bool:
    return isinstance(exception, MiniFlinkError) and type(exception).__module__.startswith("mini_flink.")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be said: ``text`` to people; to programs the event ``name`` with ``plain``, which is the
    text without what records hold, and ``fields``.
    """

    name: str
    text: str
    plain: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class _Window:
    """The repeats of one failure since it was last printed."""

    what: str
    until_ms: int
    operator: str
    error: str
    repeats: int = 0


class FailureLog:
    """Decides what the log says about failures: each kind whole once in 10 s, repeats as a count.

    A kind is an operator, a place and an exception type; without a place of the user's the message stands for
    it, but for the numbers in it, which may differ from record to record. At most 256 kinds are remembered;
    beyond that the oldest is forgotten, its count said first. The caller says what is returned.
    """

    def __init__(self, *, full_trace: bool = False) -> None:
        self._full_trace = full_trace
        self._windows: dict[tuple[str, str, str], _Window] = {}

    def record(self, failure: Failure, now_ms: int) -> list[Notice]:
        """What to say of a failure that happened now, after the counts that are due."""
        said = self.due(now_ms)
        frame = _place(failure.exception)
        kind = type_name(failure.exception)
        which = str(frame) if frame else re.sub(r"\d+", "0", message_of(failure.exception))
        signature = (failure.operator, which, kind)
        window = self._windows.get(signature)
        if window is not None:
            window.repeats += 1
            return said
        if len(self._windows) >= WINDOWS_LIMIT:
            said += _repeats(self._windows.pop(next(iter(self._windows))))
        what = summary(failure.exception) + "," if _is_ours(failure.exception) else kind
        what += f" in operator {printable(failure.operator)}" + (f", {frame.place}" if frame else "")
        self._windows[signature] = _Window(what, now_ms + REPEAT_WINDOW_MS, failure.operator, kind)
        text = render(failure, full_trace=self._full_trace)
        plain = render(failure, full_trace=self._full_trace, values=False)
        return [*said, Notice("record.failed", text, plain, _facts(failure))]

    def due(self, now_ms: int) -> list[Notice]:
        """The counts of all kinds whose 10 s have passed."""
        ended = [key for key, window in self._windows.items() if window.until_ms <= now_ms]
        return [notice for key in ended for notice in _repeats(self._windows.pop(key))]

    def close(self) -> list[Notice]:
        """The counts that are still open, at the end of the process."""
        said = [notice for window in self._windows.values() for notice in _repeats(window)]
        self._windows.clear()
        return said


def _repeats(window: _Window) -> list[Notice]:
    if not window.repeats:
        return []
    head = f"… {window.repeats} more like it in {REPEAT_WINDOW_MS // 1000} s: "
    fields = {"operator": window.operator, "error": window.error, "count": window.repeats}
    plain = f"{head}{window.error} in operator {printable(window.operator)}"
    return [Notice("record.failed_again", f"{head}{window.what}\n", plain, fields)]


def _facts(failure: Failure) -> dict[str, Any]:
    place, made = _place(failure.exception), failure.location
    facts = {
        "operator": failure.operator,
        "error": type_name(failure.exception),
        "error_id": failure.error_id,
        "request": failure.request_id,
        "trace_id": failure.trace_id,
        "location": f"{place.file}:{place.line}" if place else str(made or ""),
    }
    return {name: value for name, value in facts.items() if value}


def _place(exception: BaseException) -> Frame | None:
    """The innermost frame that is the user's."""
    return next(reversed(users_frames(exception.__traceback__)), None)


def render(failure: Failure, *, full_trace: bool = False, values: bool = True) -> str:
    """A failure as text that ends with a newline: at most 10 lines, or all frames with ``full_trace``.

    Without ``values`` it has neither the key nor the words of exceptions, which often quote the record.
    """
    comma = "," if values and _is_ours(failure.exception) else ""
    head = f"{_named(failure.exception, values=values)}{comma} in operator {printable(failure.operator)}"
    if full_trace:
        import traceback  # rarely asked for

        whole = traceback.format_exception(failure.exception)
        trace = whole if values else traceback.format_tb(failure.exception.__traceback__)
        lines = "".join(trace).rstrip("\n").split("\n")
        cut = [printable(line, TRACE_LINE_LIMIT) for line in lines[:TRACE_LINES]]
        return _joined([head, *_identity(failure, values=values), *cut])
    place = _place(failure.exception)
    above = [head, *_picture(failure, place), *_identity(failure, values=values)]
    below = [*_causes(failure.exception, values=values)]
    below += _help(failure.exception) if values else []
    room = RECORD_LINES - len(above) - len(below)
    return _joined([*above, *_callers(users_frames(failure.exception.__traceback__), place, room), *below])


def render_running(innermost: FrameType | None, operator: str) -> str:
    """Where a process is now that does not get on: at most 10 lines; "" if not in the user's code."""
    stack = running_frames(innermost)
    if not stack:
        return ""
    head = "this is where it is" + (f", in operator {printable(operator)}" if operator else "")
    above = [head, *picture(stack[-1])]
    return _joined([*above, *_callers(stack, stack[-1], RECORD_LINES - len(above), hint="")])


def _picture(failure: Failure, place: Frame | None) -> list[str]:
    if place is not None:
        return picture(place)
    made = failure.location
    return picture_of_operator(printable(failure.operator), made) if made else []


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _named(exception: BaseException, *, values: bool) -> str:
    return summary(exception) if values else type_name(exception)


def _identity(failure: Failure, *, values: bool) -> list[str]:
    parts = (
        ("key", failure.key if values else ""),
        ("request", failure.request_id),
        ("error id", failure.error_id),
    )
    shown = [f"{name} {printable(text, 80)}" for name, text in parts if text]
    return ["  = " + " · ".join(shown)] if shown else []


def _callers(stack: list[Frame], place: Frame | None, room: int, hint: str = " (--full-trace)") -> list[str]:
    """The user's other frames, innermost first, in ``room`` lines."""
    others = [frame for frame in stack if frame != place]
    lines = [f"  = called from {frame}" for frame in reversed(others)]
    if len(lines) <= room:
        return lines
    if room < 1:
        return []
    return [*lines[: room - 1], f"  = … and {len(lines) - room + 1} more frames{hint}"]


def _causes(exception: BaseException, *, values: bool) -> list[str]:
    """What the exception was raised from, or while handling what."""
    for cause in list(_chain(exception))[1:2]:
        frame = _place(cause)
        return [f"  = caused by {_named(cause, values=values)}" + (f" at {frame.place}" if frame else "")]
    return []


def _help(exception: BaseException) -> list[str]:
    if isinstance(exception, MiniFlinkError) and exception.help:
        return [f"  = help: {printable(exception.help)}"]
    return []


def _chain(exception: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, what that was raised from, …"""
    current: BaseException | None = exception
    for _ in range(CHAIN_LIMIT):
        if current is None:
            return
        yield current
        hidden = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or hidden


def render_error(error: MiniFlinkError, *, colour: bool = False) -> str:
    """An error that ends a command: at most 8 lines and its details, the last of them what to type."""
    red, plain = ("\x1b[1;31m", "\x1b[0m") if colour else ("", "")
    head = f"{red}error:{plain} {printable(error.message, 2 * TEXT_LIMIT)}"
    details = [f"  - {printable(detail, 2 * TEXT_LIMIT)}" for detail in error.details[:DETAIL_LINES]]
    if len(error.details) > DETAIL_LINES:
        details.append(f"  - … and {len(error.details) - DETAIL_LINES} more")
    frame, passed = _located(error)
    below = [f"  = {printable(error.context, 2 * TEXT_LIMIT)}"] if error.context else []
    below += [f"  = help: {printable(error.help, 2 * TEXT_LIMIT)}"] if error.help else []
    above = [head, *(picture(frame) if frame else [])]
    room = ERROR_LINES - len(above) - len(below)
    stack = users_frames(passed.__traceback__) if passed else []
    return _joined([*above, *details, *_callers(stack, frame, room), *below])


def _located(error: MiniFlinkError) -> tuple[Frame | None, BaseException | None]:
    """The place of an error, and the exception of its chain that passed there, which knows the columns."""
    location = error.location
    if location is None:
        return None, None
    for exception in _chain(error):
        if isinstance(exception, SyntaxError) and exception.lineno == location.line:
            return _of_syntax(exception, location.file), exception
        for frame in reversed(list(frames(exception.__traceback__))):
            if (frame.file, frame.line) == (location.file, location.line):
                return frame, exception
    return Frame(location.file, location.line, location.function), None


def _of_syntax(error: SyntaxError, file: str) -> Frame:
    start = error.offset - 1 if error.offset and error.offset > 0 else None
    end = None
    if start is not None:
        same_line = error.end_lineno in (None, error.lineno)
        end = max(start + 1, (error.end_offset or 0) - 1) if same_line else start + 1
    return Frame(file, error.lineno or 1, "", start, end)

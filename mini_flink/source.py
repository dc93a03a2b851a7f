"""Places in the user's own source: which frames of a traceback are theirs, and a picture of one expression.

Owns the question "whose code is this file?" and the drawing of a source line with a caret. Never prints.

Called by failures.py, jobs.py and pinned.py.
"""

from __future__ import annotations

import io
import linecache
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import decode_source
from itertools import islice
from types import CodeType, FrameType, TracebackType

from mini_flink.errors import Location

PACKAGE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(PACKAGE, "examples")
LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
INSTALLED = frozenset({"site-packages", "dist-packages"})
COMPILED = (".pyx", ".pxd", ".pxi")
SOURCE_LIMIT = 160
BEFORE = 40
"""What is shown before an expression far to the right in a line that is cut."""

_kept: set[str] = set()
"""Files whose text is known, whatever has become of them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One place that an exception passed; columns are characters from 0, None where they are not known."""

    file: str
    line: int
    function: str
    start: int | None = None
    end: int | None = None

    @property
    def place(self) -> str:
        """``job.py:14``: the path from here if the file is below this folder."""
        return f"{short_path(self.file)}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place} {self.function}".rstrip()


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Is this file the user's: not mini_flink's (but for its examples), Python's or a package's?

    What cannot be read is nobody's: ``<string>``, or the sources of a package that was compiled elsewhere.
    """
    if file.endswith(COMPILED) or not (file in _kept or os.path.isfile(file)):
        return False
    path = os.path.abspath(file)
    if _below(path, PACKAGE):
        return _below(path, EXAMPLES)
    if INSTALLED.intersection(path.split(os.sep)):
        return False
    return not _below(path, LIBRARY)


def keep_text(file: str, source: bytes) -> None:
    """Show the lines of ``source``, which is what runs, whatever becomes of the file."""
    lines = io.StringIO(decode_source(source)).readlines()
    linecache.cache[file] = (len(source), None, lines, file)  # without a time it is never read anew
    _kept.add(file)


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


def short_path(file: str) -> str:
    """The path from the working directory if ``file`` is below it, else as it is."""
    try:
        here = os.getcwd()
    except OSError:  # the folder was removed
        return file
    return file[len(here) + 1 :] if _below(file, here) else file


def frames(trace: TracebackType | None) -> Iterator[Frame]:
    """All frames of a traceback, outermost first."""
    while trace is not None:
        code = trace.tb_frame.f_code
        start, end = _columns(code, trace.tb_lasti, trace.tb_lineno)
        yield Frame(code.co_filename, trace.tb_lineno, code.co_name, start, end)
        trace = trace.tb_next


def running_frames(innermost: FrameType | None) -> list[Frame]:
    """The user's own frames of a stack that is running, outermost first."""
    stack: list[Frame] = []
    while innermost is not None:
        code, line = innermost.f_code, innermost.f_lineno or innermost.f_code.co_firstlineno
        if is_users(code.co_filename):
            start, end = _columns(code, innermost.f_lasti, line)
            stack.append(Frame(code.co_filename, line, code.co_name, start, end))
        innermost = innermost.f_back
    return stack[::-1]


def users_frames(trace: TracebackType | None) -> list[Frame]:
    """The frames in the user's own files, outermost first."""
    return [frame for frame in frames(trace) if is_users(frame.file)]


def _columns(code: CodeType, instruction: int, line: int) -> tuple[int | None, int | None]:
    """First and last column of the expression that was running; (None, None) without position data."""
    if instruction < 0:
        return None, None
    position = next(islice(code.co_positions(), instruction // 2, None), None)
    if position is None:
        return None, None
    first_line, last_line, start, end = position
    if first_line != line or start is None or end is None:
        return None, None
    text = linecache.getline(code.co_filename, line).rstrip("\n")
    raw = text.encode("utf-8", "surrogateescape")
    stop = len(raw) if last_line != first_line else end
    # Python counts bytes of UTF-8; what is shown are characters.
    return (len(raw[:start].decode("utf-8", "replace")), len(raw[:stop].decode("utf-8", "replace")))


def picture(frame: Frame) -> list[str]:
    """The arrow line, and the source line with a caret under the expression where they are known.

    At most four lines::

          --> job.py:14:17
           |
        14 | .map(lambda o: o["price"] * 2)
           |                ^^^^^^^^^^
    """
    column = "" if frame.start is None else f":{frame.start + 1}"
    return _drawn(f"  --> {frame.place}{column}" + _in(frame.function), frame)


def picture_of_operator(name: str, made: Location) -> list[str]:
    """The same for a line that did not run, but made the operator that failed."""
    frame = Frame(made.file, made.line, made.function)
    return _drawn(f"  --> operator {name!r}, made at {frame.place}", frame)


def excerpt(frame: Frame) -> tuple[str, str]:
    """The source line of a frame, and the carets that stand under its expression; each may be empty."""
    text = linecache.getline(frame.file, frame.line).rstrip()
    stripped = text.lstrip()
    indent = len(text) - len(stripped)
    start, end = frame.start, frame.end
    if not text or start is None or end is None or not indent <= start < len(text):
        return _shown(stripped), ""
    begin, length = start - indent, max(1, end - start)
    if begin + min(length, BEFORE) > SOURCE_LIMIT:  # of a line that is too long, the part that has failed
        stripped, begin = f"…{stripped[begin - BEFORE + 1 :]}", BEFORE
    return _shown(stripped), " " * begin + "^" * min(length, SOURCE_LIMIT - begin)


def _drawn(arrow: str, frame: Frame) -> list[str]:
    text, carets = excerpt(frame)
    if not text:
        return [arrow]
    margin = " " * len(str(frame.line))
    lines = [arrow, f"{margin} |", f"{frame.line} | {text}"]
    return [*lines, f"{margin} | {carets}"] if carets else lines


def _in(function: str) -> str:
    return f" in {function}" if function not in ("", "<module>") else ""


def _shown(text: str) -> str:
    text = text.replace("\t", " ")
    return text if len(text) <= SOURCE_LIMIT else text[: SOURCE_LIMIT - 1] + "…"

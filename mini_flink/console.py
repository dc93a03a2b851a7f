"""What user functions print and log, and what the server itself says: whole lines, with who said them.

Owns the standard streams of a process after :func:`install`: text is put together to lines, each line (or
block of lines written at once, such as a traceback) leaves in one write behind a prefix such as
``[worker 0 · total · 00c0ffee-0100000200000003]``, not interleaved with those of other processes. Never
decides what is worth saying; a closed pipe behind it never fails a record: the text is dropped.

What is said leaves as text for people or as one JSON object a line (:func:`choose`), in all processes alike;
the names of events are those of ``events``.

``current`` is set by operators around user functions (attribute writes only) and read when a line is written.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType, TracebackType
from typing import IO, Any

from mini_flink.events import USER_OUTPUT

PIPE_BUFFER_BYTES = 4096
PARTIAL_LIMIT_BYTES = 1024 * 1024
LOCK_WAIT_S = 0.2
LOCK_STEP_S = 0.001
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
PRIORITIES = {"error": 3, "warn": 4, "info": 6}
"""What syslog, and so the journal, calls a level."""


@dataclass(slots=True)
class _Form:
    """How this process speaks: JSON or text, with the journal's priorities or not, and of which job."""

    is_json: bool = False
    is_journal: bool = False
    job: str = ""


_form = _Form()

Who = tuple[str, str, str]
"""Whose words: the thread if it is not the loop's, the operator, the request; each may be empty."""


class Current:
    """What the loop of this process is doing: the operator's name ("" between records), the request's id."""

    __slots__ = ("operator", "request")

    def __init__(self) -> None:
        self.operator: str = ""
        self.request: Callable[[], str] | None = None


current = Current()


class LineLock:
    """Keeps a line that is longer than a pipe's atomic write from being torn by other processes' lines.

    Short lines share the lock, long ones hold it alone. Waiting ends after 0.2 s and the line is written all
    the same: a process that was stopped while it held the lock must not silence, or stop, the others.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        import fcntl  # not on Windows, where this module is imported too

        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        self._acquire(lambda: fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB))
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _acquire(self, attempt: Callable[[], None]) -> None:
        give_up = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                attempt()
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    return
                time.sleep(LOCK_STEP_S)
            else:
                return


class LineWriter(io.TextIOBase):
    """A text stream that writes whole lines with a prefix to a descriptor; each thread has its own line."""

    def __init__(self, descriptor: int, label: str, lock: LineLock | None) -> None:
        super().__init__()
        self.label = label
        self.buffer = _Bytes(self)
        self._descriptor = descriptor
        self._lock: LineLock | None = lock
        self._loop_thread = threading.get_ident()
        self._within = threading.RLock()  # a signal handler may print while a line is written
        self._partial: dict[int, tuple[Who, bytes]] = {}  # of each thread

    def belong_to(self, label: str, lock: LineLock | None) -> None:
        """Speak as another; handlers that hold this stream go on with it."""
        self.label, self._lock = label, lock

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.write_bytes(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Nothing: whole lines have left already, a partial one waits for its end or for :meth:`finish`."""

    def write_bytes(self, data: bytes) -> None:
        """Add to this thread's line; what is complete leaves in one write.

        A line that another operator or request began is ended first: nobody's words stand behind another's
        name.
        """
        with self._within:
            thread, who = threading.get_ident(), self._who()
            begun, partial = self._partial.pop(thread, (who, b""))
            if begun != who:
                self._emit(partial, begun)
            else:
                data = partial + data
            whole = len(data) if len(data) > PARTIAL_LIMIT_BYTES else data.rfind(b"\n") + 1
            if whole < len(data):
                self._partial[thread] = who, data[whole:]
            if whole:
                self._emit(data[:whole], who)

    def _emit(self, block: bytes, who: Who) -> None:
        """Write lines at once, each with whose they are."""
        lines = block.removesuffix(b"\n").split(b"\n")
        if _form.is_json:
            self.emit(b"".join(_output(line, self.label, who) for line in lines))
            return
        parts = [part for part in (self.label, *who) if part]
        prefix = f"[{' · '.join(parts)}] ".encode() if parts else b""
        self.emit(b"".join(b"%s%s\n" % (prefix, line) for line in lines))

    def emit(self, out: bytes) -> None:
        """Write whole lines at once."""
        with self._lock.held(alone=len(out) > PIPE_BUFFER_BYTES) if self._lock else nullcontext():
            _write_all(self._descriptor, out)

    def finish(self) -> None:
        """Write the partial lines of all threads, at the end of the process."""
        with self._within:
            partial, self._partial = self._partial, {}
            for who, data in partial.values():
                self._emit(data, who)

    def finish_ended(self) -> None:
        """Write the partial line of this thread if who began it has ended: nobody would complete it."""
        with self._within:
            begun, data = self._partial.get(threading.get_ident(), (("", "", ""), b""))
            if data and begun != self._who():
                del self._partial[threading.get_ident()]
                self._emit(data, begun)

    def _who(self) -> Who:
        if threading.get_ident() != self._loop_thread:
            return threading.current_thread().name, "", ""
        if current.operator:
            return "", current.operator, current.request() if current.request else ""
        return "", "", ""


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``, for jobs that write bytes."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._writer.fileno()

    def write(self, data: object) -> int:
        content = bytes(data)  # type: ignore[call-overload]
        self._writer.write_bytes(content)
        return len(content)


def _write_all(descriptor: int, data: bytes) -> None:
    """One write, unless the system takes only a part; nothing if nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody made the shared pipe non-blocking
            select.select([], [descriptor], [])
        except OSError:
            return


def choose(log: str, environment: Mapping[str, str], job: str = "") -> bool:
    """Speak as the setting ``log`` says (``auto``, ``text``, ``json``) from here on; whether that is JSON.

    ``auto`` is JSON where programs read it: in the journal, and in a container without a terminal.
    """
    _form.is_journal = _leads_to_journal(environment.get("JOURNAL_STREAM", ""))
    _form.is_json = log == "json" or (log != "text" and (_form.is_journal or _is_in_container(environment)))
    _form.job = job
    return _form.is_json


def _leads_to_journal(stream: str) -> bool:
    """Whether stderr is what systemd has named: a child may have the variable and not the stream."""
    try:
        about = os.fstat(2)
    except OSError:
        return False
    return stream == f"{about.st_dev}:{about.st_ino}"


def _is_in_container(environment: Mapping[str, str]) -> bool:
    is_marked = bool(environment.get("container")) or any(map(os.path.exists, CONTAINER_MARKS))
    return is_marked and not os.isatty(2)


def is_json() -> bool:
    """Whether a program reads what is said."""
    return _form.is_json


def name_job(job: str) -> None:
    """Which job this process is of, once that is known."""
    _form.job = job


def install(label: str, lock_path: str) -> None:
    """Let this process speak in whole lines behind ``label`` (``worker 0``; "" for none).

    To be called by the thread of the process's loop, before the job is loaded: handlers that the job installs
    keep the streams that they find. ``lock_path`` is one file for all processes of a server, or empty while
    there are no others. A second call only says who this is from now on.
    """
    lock = LineLock(lock_path) if lock_path else None
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: IO[str] | None = getattr(sys, name)
        if isinstance(stream, LineWriter):
            stream.belong_to(label, lock)
            continue
        if stream is not None:
            stream.flush()
        setattr(sys, name, LineWriter(descriptor, label, lock))
    atexit.register(finish)
    if _form.is_json:
        sys.excepthook = _say_crash
        threading.excepthook = _say_thread_crash


def _say_crash(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
    """In the place of Python's own hook: one object, not a line for each of the traceback's."""
    import traceback  # rarely needed

    plain = f"{kind.__name__}\n" + "".join(traceback.format_tb(trace))
    event("error", plain, name="process.crashed", error=kind.__name__)


def _say_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None and crash.exc_type is not SystemExit:
        _say_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)


def install_logging() -> None:
    """Let ``logging`` speak through stderr from level INFO, unless the job has installed a handler.

    To be called after the job is loaded.
    """
    import logging  # a worker's job has it at hand by now; a process that only says events does not need it

    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    if root.level in (logging.NOTSET, logging.WARNING):  # Python's own default, not the job's choice
        root.setLevel(logging.INFO)


def show_place_on(number: int, render: Callable[[FrameType | None, str], str]) -> None:
    """At a signal, say what ``render`` makes of the main thread's stack and the operator, if anything.

    Python calls the handler between two steps of its own: within a call of C that goes on, nothing is said.
    """

    def show(_number: int, frame: FrameType | None) -> None:
        if text := render(frame, current.operator):
            event("warn", text, name="process.place", operator=current.operator)

    signal.signal(number, show)


def finish() -> None:
    """Write partial lines; to be called before ``os._exit``, otherwise it happens at exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LineWriter):
            stream.finish()


def finish_ended() -> None:
    """Write the partial lines of records that are done; to be called by the loop now and then."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LineWriter):
            stream.finish_ended()


def event(
    level: str, text: str, /, *, name: str = "", plain: str = "", now: datetime | None = None, **fields: Any
) -> None:
    """Say something as the server itself on stderr: time, ``info``, ``ok``, ``warn`` or ``error``, text.

    Further lines of ``text`` follow as they are, in the same write. As JSON it is one object with ``name``
    and ``fields``, and says ``plain`` if there is one: what ``text`` says, without values of records.
    """
    if _form.is_json:
        _write(_object(level, name, plain or text, _label(), fields))
        return
    stamp = (now or datetime.now()).strftime("%H:%M:%S.%f")[:-3]
    who = f"{label}: " if (label := _label()) else ""
    _write(f"{stamp}  {level:<5}  {who}{text.rstrip()}\n".encode("utf-8", "backslashreplace"))


def say(text: str, *, name: str, level: str = "info", **fields: Any) -> None:
    """To the person at the terminal, without time and level, on stderr: stdout is left to the job."""
    if _form.is_json:
        _write(_object(level, name, text, _label(), fields))
    else:
        _write(f"{text}\n".encode("utf-8", "backslashreplace"))


def note(text: str, *, name: str, **fields: Any) -> None:
    """Say what only programs want to hear unasked; a person asks ``status``."""
    if _form.is_json:
        _write(_object("info", name, text, _label(), fields))


def _label() -> str:
    return sys.stderr.label if isinstance(sys.stderr, LineWriter) else ""


def _write(lines: bytes) -> None:
    stream = sys.stderr
    if isinstance(stream, LineWriter):
        stream.emit(lines)
    elif stream is not None:
        stream.write(lines.decode())
        stream.flush()


def _output(line: bytes, label: str, who: Who) -> bytes:
    """A line of the user's."""
    named = zip(("thread", "operator", "request"), who, strict=True)
    fields = {name: value for name, value in named if value}
    message = {"message": line.decode("utf-8", "backslashreplace")}
    return _line("info", USER_OUTPUT, message, label, fields)


def _object(level: str, name: str, text: str, label: str, fields: Mapping[str, Any]) -> bytes:
    """What the server says: the first line is the message, the others are its detail."""
    first, _, rest = text.strip("\n").partition("\n")
    message = {"message": first.strip().removeprefix("error: ")}
    return _line(level, name, message | ({"detail": rest} if rest else {}), label, fields)


def _line(level: str, name: str, said: Mapping[str, str], label: str, fields: Mapping[str, Any]) -> bytes:
    level = "info" if level == "ok" else level
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    about = {"ts": stamp, "level": level, "event": name, **said}
    about |= {"job": _form.job, "process": label or "supervisor"}
    priority = f"<{PRIORITIES[level]}>" if _form.is_journal else ""
    text = json.dumps(about | dict(fields), ensure_ascii=False, default=str)
    return f"{priority}{text}\n".encode("utf-8", "backslashreplace")

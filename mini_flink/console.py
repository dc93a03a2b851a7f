"""What user functions print and log, and what the server itself says: whole lines, with who said them.

Owns the standard streams of a process after :func:`install`: text is put together to lines, each line (or
block of lines written at once, such as a traceback) leaves in one write behind a prefix such as
``[worker 0 · total · 00c0ffee-0100000200000003]``, not interleaved with those of other processes. Never
decides what is worth saying; a closed pipe behind it never fails a record: the text is dropped.

``current`` is set by operators around user functions (attribute writes only) and read when a line is written.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import IO

PIPE_BUFFER_BYTES = 4096
PARTIAL_LIMIT_BYTES = 1024 * 1024
LOCK_WAIT_S = 0.2
LOCK_STEP_S = 0.001


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

    def __init__(self, descriptor: int, label: str, lock: LineLock) -> None:
        super().__init__()
        self.label = label
        self.buffer = _Bytes(self)
        self._descriptor = descriptor
        self._lock = lock
        self._loop_thread = threading.get_ident()
        self._within = threading.RLock()  # a signal handler may print while a line is written
        self._partial: dict[int, tuple[bytes, bytes]] = {}  # of each thread: prefix, text

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
            thread, prefix = threading.get_ident(), self._prefix()
            begun, partial = self._partial.pop(thread, (prefix, b""))
            if begun != prefix:
                self.emit(partial, begun)
            else:
                data = partial + data
            whole = len(data) if len(data) > PARTIAL_LIMIT_BYTES else data.rfind(b"\n") + 1
            if whole < len(data):
                self._partial[thread] = prefix, data[whole:]
            if whole:
                self.emit(data[:whole], prefix)

    def emit(self, block: bytes, prefix: bytes = b"") -> None:
        """Write lines at once, each behind ``prefix``."""
        lines = block.removesuffix(b"\n").split(b"\n")
        out = b"".join(b"%s%s\n" % (prefix, line) for line in lines)
        with self._lock.held(alone=len(out) > PIPE_BUFFER_BYTES):
            _write_all(self._descriptor, out)

    def finish(self) -> None:
        """Write the partial lines of all threads, at the end of the process."""
        with self._within:
            partial, self._partial = self._partial, {}
            for prefix, data in partial.values():
                self.emit(data, prefix)

    def finish_ended(self) -> None:
        """Write the partial line of this thread if who began it has ended: nobody would complete it."""
        with self._within:
            begun, data = self._partial.get(threading.get_ident(), (b"", b""))
            if data and begun != self._prefix():
                del self._partial[threading.get_ident()]
                self.emit(data, begun)

    def _prefix(self) -> bytes:
        parts = [self.label] if self.label else []
        if threading.get_ident() != self._loop_thread:
            parts.append(threading.current_thread().name)
        elif current.operator:
            parts.append(current.operator)
            parts += [current.request()] if current.request else []
        return f"[{' · '.join(parts)}] ".encode() if parts else b""


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


def install(label: str, lock_path: str) -> None:
    """Let this process speak in whole lines behind ``label`` (``worker 0``; "" for none).

    To be called by the thread of the process's loop, before the job is loaded: handlers that the job installs
    keep the streams that they find. ``lock_path`` is one file for all processes of a server.
    """
    lock = LineLock(lock_path)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: IO[str] | None = getattr(sys, name)
        if stream is not None:
            stream.flush()
        setattr(sys, name, LineWriter(descriptor, label, lock))
    atexit.register(finish)


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
            event("warn", text)

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


def event(level: str, text: str, *, now: datetime | None = None) -> None:
    """Say something as the server itself on stderr: time, ``info``, ``ok``, ``warn`` or ``error``, text.

    Further lines of ``text`` follow as they are, in the same write.
    """
    stamp = (now or datetime.now()).strftime("%H:%M:%S.%f")[:-3]
    stream = sys.stderr
    if isinstance(stream, LineWriter):
        who = f"{stream.label}: " if stream.label else ""
        block = f"{stamp}  {level:<5}  {who}{text.rstrip()}\n"
        stream.emit(block.encode("utf-8", "backslashreplace"))
    elif stream is not None:
        stream.write(f"{stamp}  {level:<5}  {text.rstrip()}\n")
        stream.flush()

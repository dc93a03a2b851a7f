"""A command in a real terminal of a given size: what stands on its screen, and keys that are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.server import LIMIT_S, ROOT

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOME = "\x1b[H"


class Terminal:
    """One command, in the foreground of a terminal."""

    def __init__(
        self, *words: str, columns: int = 100, rows: int = 40, cwd: Path = ROOT, **variables: str
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        self.modes_before = termios.tcgetattr(slave)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        }
        environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mini_flink", *words],
            cwd=cwd,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._slave = slave
        self.text = ""

    def resize(self, columns: int, rows: int) -> None:
        """Another size; who is in the foreground hears of it."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def modes(self) -> list[Any]:
        """How the terminal is set now."""
        return termios.tcgetattr(self._slave)

    @property
    def screen(self) -> list[str]:
        """The lines of what was drawn last, without codes."""
        return [line.rstrip() for line in self._frame().splitlines()]

    def _frame(self) -> str:
        frame = self.text.replace("\r\n", "\n").split(HOME)[-1]
        return CODES.sub("", frame)

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Read until something that is wanted stands there."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := holds()):
            assert time.monotonic() < deadline, f"never: {what}\n{self.text[-4000:]}"
            self._read(0.1)
        return found

    def until_shown(self, text: str) -> None:
        """Wait until the screen shows ``text``."""
        self.until(lambda: text in "\n".join(self.screen), text)

    def until_line(self, pattern: str) -> None:
        """Wait until a line of the screen matches: half a picture may have come so far."""
        self.until(lambda: any(re.search(pattern, line) for line in self.screen), pattern)

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        self.text += os.read(self._master, 1 << 16).decode(errors="replace")
        return True

    def wait(self) -> int:
        """The exit code, when it has ended; all that it has written by then is read."""
        self.until(lambda: self.process.poll() is not None, "an end")
        while self._read(0):
            pass
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        """Nothing is left running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT_S)
        os.close(self._slave)
        os.close(self._master)

"""A terminal for a reader: a folder, a shell, and a second shell in which a server runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.docs.guide import ROOT

SHELL = shutil.which("bash")
LIMIT_S = 120.0
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "dist", "build", "results", "*.egg-info")
_ACTIVATE = ". .venv/bin/activate"
_CHANGE = re.compile(r"cd (\S+)")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def link_dependencies(folder: Path) -> None:
    """All that is installed here but for mini_flink itself: so pip finds it in place and needs no network."""
    folder.mkdir()
    for entry in (Path(path) for path in sys.path if path.endswith("site-packages")):
        for installed in entry.iterdir():
            if not installed.name.startswith(("mini_flink", "_mini_flink", "__editable__", "__pycache__")):
                (folder / installed.name).symlink_to(installed)


def clone(folder: Path) -> Terminal:
    """Where the reader of README.md begins: a fresh clone, and an installation that needs no network."""
    shutil.copytree(ROOT, folder / "clone", ignore=_NOT_COPIED)
    link_dependencies(folder / "dependencies")
    variables = {
        "PYTHONPATH": str(folder / "dependencies"),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say: without isolation
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return Terminal(folder / "clone", folder / "log", variables)


def workplace(folder: Path) -> Terminal:
    """Where the reader of a guide begins: an empty folder, and mini_flink in the environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (folder / "work").mkdir()
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), "MINI_FLINK_GATEWAYS": "1"}  # one is quicker to start
    return Terminal(folder / "work", folder / "log", variables)


class Terminal:
    """Ports 7071 and 7072 of the text are free ones here."""

    def __init__(self, folder: Path, log: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.ports = {":7071": f":{free_port()}", ":7072": f":{free_port()}"}
        self._log = log
        self._prefix = ""
        self._server: subprocess.Popen[bytes] | None = None
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MINI_FLINK_")},
            "MINI_FLINK_PORT": self.ports[":7071"][1:],
            "MINI_FLINK_ADMIN_PORT": self.ports[":7072"][1:],
            "MINI_FLINK_LOG": "text",  # the words for people, also where this runs in a container
            **variables,
        }

    def here(self, text: str) -> str:
        """The text with this terminal's ports."""
        for written, own in self.ports.items():
            text = text.replace(written, own)
        return text

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run(self, command: str, **variables: str) -> str:
        """What a command prints; it must succeed. What ``cd`` does lasts."""
        if found := _CHANGE.fullmatch(command):
            self.folder /= found[1]
            return ""
        if command == _ACTIVATE:
            self._prefix = f"{_ACTIVATE}; "
        done = subprocess.run(
            [str(SHELL), "-c", self._prefix + self.here(command)],
            cwd=self.folder,
            env=self._environment | variables,
            stdout=subprocess.PIPE,
            timeout=LIMIT_S,
            text=True,
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout if done.stdout.endswith("\n") or not done.stdout else f"{done.stdout}\n"

    # --- the second shell -------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What the server has said."""
        return self._log.read_text()

    def serve(self, command: str, ready: str) -> None:
        """Start a server, after the end of the one before, and wait until it says that it is ready."""
        self.stop()
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [str(SHELL), "-c", self._prefix + self.here(command)],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.until(ready)

    def until(self, expected: str) -> None:
        """Wait until the server has said what matches."""
        give_up = time.monotonic() + LIMIT_S
        while not re.search(expected, self.log, re.MULTILINE):
            assert self._server is not None
            assert self._server.poll() is None, self.log
            assert time.monotonic() < give_up, f"{expected}\n{self.log}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ctrl-C, which the whole session of the shell hears."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGINT)
            self._server.wait(LIMIT_S)
            self._server = None
            assert re.search(r"^Stopped", self.log, re.MULTILINE), self.log

    def close(self) -> None:
        """Nothing is left running, whatever has failed."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(LIMIT_S)

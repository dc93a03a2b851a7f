"""What lies in a data folder, how a snapshot is taken, and what a start that is refused says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mini_flink.folder import sealed
from tests.e2e.server import ROOT, Server


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of mini_flink."""
    command = [sys.executable, "-m", "mini_flink", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def savepoint(server: Server, *words: str | Path) -> dict[str, Any]:
    """Take one of a running server; what there is to say of it."""
    done = run("savepoint", "--data-dir", server.data_dir, "--json", *words)
    assert done.returncode == 0, done.stderr
    taken: dict[str, Any] = json.loads(done.stdout)
    return taken


def record(server: Server) -> dict[str, Any]:
    """job.json."""
    content: dict[str, Any] = json.loads((server.data_dir / "job.json").read_text())
    return content


def cut_the_power(server: Server) -> None:
    """As far as a folder can tell: whoever served it is gone, and this is another boot."""
    content = {**record(server), "boot_id": "00" * 16}
    del content["sha256"]
    (server.data_dir / "job.json").write_bytes(sealed(content))


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file that holds something; who holds a lock changes with every start."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
    }


def refused(server: Server, *options: str) -> tuple[int, str]:
    """The exit code of a start that must fail and must leave everything as it was; what it said."""
    before = contents(server.data_dir)
    code, said = failed(server, *options)
    assert contents(server.data_dir) == before
    return code, said


def failed(server: Server, *options: str) -> tuple[int, str]:
    """The exit code of a start that must fail, and what it said."""
    since = server.launch(*options)
    code = server.wait()
    said = server.output[since:]
    assert "  Ready   " not in said
    assert "error: " in said
    return code, said

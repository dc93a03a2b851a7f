"""A bit flips in a file of a data folder or of a snapshot: it is found, and named, and nothing is served.

One folder that a killed server has left is copied for each flip. Where a flip meets what is not used any more
the server may start; then it must answer as if nothing had been.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mini_flink.errors import EXIT_STORAGE
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.manifest import NAME, Manifest
from mini_flink.state.segment import HEADER_BYTES, RECORD_OVERHEAD
from tests.e2e.client import post_all
from tests.e2e.commands import run
from tests.e2e.conftest import Serve
from tests.e2e.server import Server
from tests.e2e.test_snapshots import kinds, until_completed

JOB = "mini_flink.examples.running_total"
KEYS = 24
ROUNDS = 3
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """What a server left that had taken snapshots, with more in its logs than in its tables."""
    options = ("--workers", "1", "--gateways", "1", "--snapshot-interval-s", "1")
    server = Server(tmp_path_factory.mktemp("left"), JOB, *options)
    try:
        server.start()
        for number in range(ROUNDS):
            until_completed(server, number)
            add(server, 1)
        server.kill_all()
    finally:
        server.clean_up()
    return server


def add(server: Server, amount: int) -> list[int]:
    """Add to all keys, one after another; what is there now."""
    (answers,) = post_all(
        server.url, "/total", [[{"key": f"k{key}", "amount": amount} for key in range(KEYS)]]
    )
    assert all(answer.ok for answer in answers)
    return [answer.body["total"] for answer in answers]


def flip(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 1 << 2
    file.write_bytes(content)


def the_middle(file: Path) -> int:
    return file.stat().st_size // 2


def a_record(file: Path) -> int:
    """Inside the payload of the first record of a log; more follow."""
    return HEADER_BYTES + RECORD_OVERHEAD + 5


def a_root_page(file: Path) -> int:
    """The flags of the page that the newest meta page of LMDB calls the root of all databases."""
    content = file.read_bytes()
    metas = [struct.unpack_from("<QQ", content, page * PAGE_BYTES + 16 + 120) for page in range(2)]
    root = max(metas, key=lambda meta: meta[1])
    main = struct.unpack_from("<Q", content, metas.index(root) * PAGE_BYTES + 16 + 24 + 48 + 40)[0]
    return int(main) * PAGE_BYTES + 10


@pytest.mark.parametrize(
    ("pattern", "find"),
    [
        ("job.json", the_middle),
        ("incarnations.json", the_middle),
        ("g1/w0/log/segment-*.log", lambda _: 30),
        ("g1/w0/log/segment-*.log", a_record),
        ("g1/w0/state/data.mdb", lambda _: 17),
        ("g1/w0/state/data.mdb", lambda _: PAGE_BYTES + 17),
        ("g1/w0/state/data.mdb", a_root_page),
    ],
    ids=["job", "incarnations", "log header", "log record", "meta page", "other meta page", "root page"],
)
def test_in_a_data_folder(serve: Serve, left: Server, pattern: str, find: Callable[[Path], int]) -> None:
    server = serve(JOB, "--gateways", "1")
    shutil.copytree(left.data_dir, server.data_dir)
    file = min(server.data_dir.glob(pattern))
    flip(file, find(file))
    since = server.launch()
    code = server.wait() if server.refuses(since) else 0
    if code:
        assert code == EXIT_STORAGE
        assert file.name in server.output[since:] or str(file.parent) in server.output[since:]
    else:
        assert add(server, 0) == [ROUNDS] * KEYS
        assert server.stop() == 0


@pytest.mark.parametrize("kind", ["manifest", "base", "delta", "channels"])
def test_in_a_snapshot(serve: Serve, left: Server, kind: str) -> None:
    server = serve(JOB)
    place = server.data_dir / "snapshots"
    shutil.copytree(left.data_dir, server.data_dir)
    assert run(server, "snapshot verify").code == 0
    found = [entry for entry in Catalog(FileStore(place)).entries() if isinstance(entry, Manifest)]
    newest = found[-1]
    assert kinds(newest) == {"base", "delta", "channels"}
    paths = {file.kind: file.path for part in newest.parts for file in part.files}
    path = {**paths, "manifest": f"{newest.id}/{NAME}"}[kind]
    flip(place / path, the_middle(place / path))
    done = run(server, "snapshot verify")
    assert (done.code, path in done.out) == (EXIT_STORAGE, True)

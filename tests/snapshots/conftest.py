"""A real S3 server on this machine, and stores of each kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from mini_flink.snapshots.base import SnapshotStore
from mini_flink.snapshots.files import FileStore
from mini_flink.snapshots.memory import MemoryStore
from mini_flink.snapshots.remote import RemoteStore

BUCKET = "backups"
_prefixes = itertools.count()

OpenStore = Callable[[], SnapshotStore]


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """The variables under which ``s3://backups/…`` is on a server that runs meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield variables
    server.stop()


@pytest.fixture
def s3_url(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own on the S3 server."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/test-{next(_prefixes)}"


@pytest.fixture(params=["files", "memory", "s3", "fsspec-file"])
def open_place(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Each call opens the same place as another process would."""
    if request.param == "files":
        return lambda: FileStore(tmp_path / "snapshots")
    if request.param == "memory":
        twin = MemoryStore()
        return lambda: twin
    url = request.getfixturevalue("s3_url") if request.param == "s3" else f"file://{tmp_path}/snapshots"
    return lambda: RemoteStore(url)


@pytest.fixture
def store(open_place: OpenStore) -> SnapshotStore:
    return open_place()

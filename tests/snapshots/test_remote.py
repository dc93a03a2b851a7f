"""What is peculiar to fsspec URLs: what is said of bad ones, secrets in them, and what an upload leaves."""

from __future__ import annotations

import gc
import sys
from typing import Any

import boto3
import pytest

from mini_flink.errors import ConfigError, StorageError
from mini_flink.snapshots.catalog import Catalog
from mini_flink.snapshots.location import open_store, shown
from mini_flink.snapshots.remote import RemoteStore
from tests.snapshots.conftest import BUCKET
from tests.snapshots.places import put, take


def test_urls_go_to_fsspec(s3_url: str) -> None:
    store = open_store(s3_url, directory="/elsewhere")
    assert isinstance(store, RemoteStore)
    assert store.location == s3_url
    assert open_store(f"{s3_url}/").location == s3_url


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)  # as if it were not installed
    with pytest.raises(ConfigError, match="snapshots at s3://b/p need fsspec") as caught:
        open_store("s3://b/p")
    assert "pip install 'mini-flink[remote]'" in caught.value.help


def test_without_the_package_of_a_file_system_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"snapshots at gs://b/p: .*gcsfs"):
        open_store("gs://b/p")


def test_an_unknown_kind_of_url() -> None:
    with pytest.raises(ConfigError, match="s4://b/p is no place for snapshots"):
        open_store("s4://b/p")


@pytest.mark.parametrize(
    ("url", "shown_as"),
    [
        ("memory://me:secret@host/path?token=secret", "memory://host/path"),
        ("memory://AKIA:s3cr3t@bucket/x", "memory://bucket/x"),
        ("memory://me:se@cret@host/path", "memory://host/path"),
        ("memory://me:se/cret@host/path", "memory://host/path"),
        ("memory://host:21/what@ever", "memory://host:21/what@ever"),
        ("memory://bucket/what@ever", "memory://bucket/what@ever"),
    ],
)
def test_secrets_in_a_url_are_not_shown(url: str, shown_as: str) -> None:
    assert RemoteStore(url).location == shown(url) == shown_as


@pytest.mark.parametrize(
    "url",
    ["memory://AKIA:s3cr3t@bucket/x", "memory://AKIA:s3cr3t@bucket/x?token=s3cr3t", "memory://AKIA:s3cr3t@"],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_secrets_are_in_no_error(url: str, encoded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(_: Any, path: str, *__: Any, **___: Any) -> Any:
        raise ValueError(f"no {path} at {url}, AKIA said s3cr3t")

    store = RemoteStore(url.replace("s3", "%733") if encoded else url)
    for name in ("open", "find", "info", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, refuse)
    for call in (store.list, lambda: store.read("a"), lambda: store.write("a"), lambda: store.remove("a")):
        with pytest.raises(StorageError, match="ValueError: no ") as caught:
            call()
        assert "s3cr3t" not in f"{caught.value.message} {caught.value.help}"


def test_a_server_that_refuses_to_be_connected() -> None:
    with pytest.raises(StorageError, match=r"cannot open ftp://127\.0\.0\.1:1/x: Conn") as caught:
        open_store("ftp://u:s3cr3t@127.0.0.1:1/x")
    assert "network" in caught.value.help


def test_a_bucket_that_is_not_there_is_not_made(s3_url: str) -> None:
    missing = s3_url.replace(BUCKET, "nobodys-bucket")
    with pytest.raises(StorageError, match=f"cannot write {missing}/id/f: FileNotFoundError: .*bucket"):
        put(RemoteStore(missing), "id/f", b"x")
    assert [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]] == [BUCKET]


def test_a_server_that_does_not_answer(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageError, match=f"cannot list {s3_url}: ") as caught:
        Catalog(RemoteStore(s3_url)).latest()
    assert "network" in caught.value.help
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("size", [0, 100, 20 << 20])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_upload_leaves_nothing_that_costs(s3_url: str, size: int) -> None:
    writer = RemoteStore(s3_url).write("id/w0.state")
    writer.write(bytes(size))
    assert bool(uploads()) == (size > 8 << 20)
    writer.abort()
    del writer
    gc.collect()
    assert uploads() == []


def uploads() -> list[Any]:
    """What was begun and not completed."""
    listed: list[Any] = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return listed


def test_keys_that_happen_to_begin_alike_are_not_ours(s3_url: str) -> None:
    take(RemoteStore(s3_url), 1)
    put(RemoteStore(f"{s3_url}-more"), "a", b"x")
    assert all(path.startswith("00c0ffee-000001/") for path in RemoteStore(s3_url).list())

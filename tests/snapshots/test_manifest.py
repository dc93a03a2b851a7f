"""The manifest: its bytes, which must stay readable, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mini_flink.errors import CorruptionError, FolderError
from mini_flink.snapshots import manifest as manifests
from mini_flink.snapshots.manifest import FileEntry, Manifest, Part, decode_manifest, encode_manifest
from tests.snapshots.places import manifest

SHA = "0123456789abcdef" * 4
PART = Part(
    worker=0,
    commit_number=4711,
    files=(
        FileEntry("00c0ffee-000011/w0.state", "base", 1000, 10, SHA),
        FileEntry("00c0ffee-000012/w0.state", "delta", 100, 1, SHA),
        FileEntry("00c0ffee-000012/w0.channels", "channels", 50, 0, SHA),
    ),
)
GOLDEN = manifest(12, [PART], job="shöp")
GOLDEN_1 = Path(__file__).parent / "manifest_1.json"


def signed(**content: Any) -> bytes:
    """A manifest with a right checksum, whatever is in it."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps({**content, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}).encode()


def test_the_bytes_of_format_1() -> None:
    assert manifests.FORMAT_VERSION == 1
    assert encode_manifest(GOLDEN) == GOLDEN_1.read_bytes()
    assert decode_manifest(GOLDEN_1.read_bytes(), "a") == GOLDEN


def test_all_its_files_by_path() -> None:
    assert list(GOLDEN.files) == [entry.path for entry in PART.files]


def test_every_flipped_bit_is_found_or_changes_nothing() -> None:
    data = GOLDEN_1.read_bytes()
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            found: Manifest = GOLDEN
            with contextlib.suppress(CorruptionError, FolderError):
                found = decode_manifest(bytes(damaged), "a/manifest.json")
            assert found == GOLDEN


def test_every_truncation_is_found() -> None:
    data = GOLDEN_1.read_bytes()
    for length in range(len(data)):
        with pytest.raises(CorruptionError, match=r"a/manifest\.json is "):
            decode_manifest(data[:length], "a/manifest.json")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"format": "1"}',
        b'{"format": true}',
        b'{"name": "an app", "icons": []}',
        b'{"format": 1, "id": "x"}',
        signed(format=1, id="x"),
        signed(format=1, parts=[{}]),
        signed(format=1, parts=3),
    ],
)
def test_a_file_of_somebody_else_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptionError, match=r"a/manifest\.json is (damaged|no manifest of a snapshot)"):
        decode_manifest(data, "a/manifest.json")


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(FolderError, match=r"a/manifest\.json has format 2, this .* up to 1") as caught:
        decode_manifest(b'{"format": 2, "anything": []}', "a/manifest.json")
    assert "newer mini_flink" in caught.value.help


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_a_file_outside_the_store_is_refused(path: str) -> None:
    outside = replace(PART, files=(replace(PART.files[0], path=path),))
    with pytest.raises(CorruptionError, match=r"a/manifest\.json is no manifest of a snapshot: .* no path"):
        decode_manifest(encode_manifest(manifest(1, [outside])), "a/manifest.json")


def test_a_file_of_an_unknown_kind_is_refused() -> None:
    content = {name: value for name, value in json.loads(GOLDEN_1.read_bytes()).items() if name != "sha256"}
    content["parts"][0]["files"][0]["kind"] = "bottom"
    with pytest.raises(CorruptionError, match="no known kind: 'bottom'"):
        decode_manifest(signed(**content), "a/manifest.json")


def test_ids() -> None:
    assert manifests.parse_id("00c0ffee-000012") == (0xC0FFEE, 12)
    assert manifests.parse_id(manifests.snapshot_id(1, 12_345_678)) == (1, 12_345_678)
    for text in (
        "",
        "latest",
        "00c0ffee",
        "00c0ffee-12",
        "00C0FFEE-000012",
        "00c0ffee-0000012",
        "x/00c0ffee-000012",
    ):
        assert manifests.parse_id(text) is None

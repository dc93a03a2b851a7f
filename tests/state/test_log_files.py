"""What only the log on files can show: damage, used space, full disks, versions, names."""

from __future__ import annotations

import os
import resource
import struct
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from mini_flink.errors import CorruptionError, FolderError, StorageError, StorageFullError
from mini_flink.state import segment
from mini_flink.state.log import FileLog
from tests.state.devices import SEGMENT_BYTES, append, opened

MAGIC = b"\x11\x22\x33\x44\x55\x66\x77\x88"


def new_log(folder: Path, segment_bytes: int = SEGMENT_BYTES) -> FileLog:
    return FileLog(folder / "log", segment_bytes=segment_bytes, durable=True)


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log").glob("segment-*.log"))


def recovered(folder: Path, after: int = 0, *, salvage: bool = False) -> list[int]:
    return [number for number, _ in new_log(folder).recover(after, salvage=salvage)]


def written_log(folder: Path, records: int = 30, payload_bytes: int = 2000) -> None:
    """A log of several segments, the first and the last but one full."""
    log = new_log(folder)
    opened(log)
    for index in range(records):
        append(log, bytes([index + 1]) * payload_bytes)
        log.prepare()
    log.close()


def segment_of(payloads: list[bytes]) -> bytes:
    data = bytearray(segment.HEADER_BYTES)
    for number, payload in enumerate(payloads, start=5):
        record = segment.record_header(MAGIC, number, payload) + payload
        data += record.ljust(segment.record_bytes(len(payload)), b"\0")
    return bytes(data) + bytes(512)


PAYLOADS = [b"first", b"second record", b"x" * 16, b"last one"]
RECORDS = list(enumerate(PAYLOADS, start=5))


def test_every_truncation_ends_the_log() -> None:
    whole = segment_of(PAYLOADS)
    ends = [segment.HEADER_BYTES]
    for payload in PAYLOADS:
        ends.append(ends[-1] + segment.record_bytes(len(payload)))
    for size in range(len(whole)):
        found = list(segment.read_records(whole[:size], MAGIC, "file"))
        assert found == RECORDS[: len(found)]
        assert len(found) >= sum(end <= size for end in ends[1:])


def test_every_flipped_bit_is_refused_or_ends_the_log() -> None:
    whole = segment_of(PAYLOADS)
    last_record = len(whole) - 512 - segment.record_bytes(len(PAYLOADS[-1]))
    for bit in range(segment.HEADER_BYTES * 8, len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = list(segment.read_records(bytes(damaged), MAGIC, "file"))
        except CorruptionError as error:
            named = "file, offset" in error.message
            assert named
            assert bit // 8 < last_record
        else:
            whole_but_last = bit // 8 >= last_record and found == RECORDS[:-1]
            assert found == RECORDS or whole_but_last, f"bit {bit}"


def test_every_flipped_bit_of_a_header_is_refused() -> None:
    header = segment.Header(3, MAGIC, 2, 1 << 20, True, 17)
    assert segment.decode_header(header.encode(), "file") == header
    for bit in range(segment.HEADER_BYTES * 8):
        damaged = bytearray(header.encode())
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptionError, FolderError)):
            segment.decode_header(bytes(damaged), "file")


def test_lost_sectors_of_the_last_record_end_the_log() -> None:
    whole = segment_of([b"a" * 700, b"b" * 3000])
    start = segment.HEADER_BYTES + segment.record_bytes(700)
    rng = Random(4)
    for _ in range(200):
        torn = bytearray(whole)
        for sector in range(start // 512 + 1, len(whole) // 512):
            if rng.random() < 0.5:
                torn[sector * 512 : sector * 512 + 512] = bytes(512)
        found = list(segment.read_records(bytes(torn), MAGIC, "file"))
        assert found[0] == (5, b"a" * 700)
        assert len(found) == 1 + (bytes(torn) == whole)


def test_old_records_in_a_segment_do_not_count(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    opened(log)
    for _ in range(400):
        log.recycle(append(log, os.urandom(1000)) - 1)
        log.prepare()
    last = log.next_number - 1
    log.close()
    used = segments(tmp_path)[-1].read_bytes()
    magic = segment.decode_header(used[: segment.HEADER_BYTES], "file").magic
    assert used.count(magic) < used.count(struct.pack("<I", 1000)), "the segment was not used before"
    assert recovered(tmp_path, last - 2) == [last - 1, last]


def test_damage_in_the_folder_is_refused_or_ends_the_log(tmp_path: Path) -> None:
    written_log(tmp_path)
    assert recovered(tmp_path) == [*range(1, 31)]
    rng = Random(1)
    for path in segments(tmp_path):
        good = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(good)
            damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            try:
                assert recovered(tmp_path) in ([*range(1, 31)], [*range(1, 30)])
            except (CorruptionError, FolderError) as error:
                named = str(path.parent) in error.message
                assert named
        path.write_bytes(good)


def test_a_missing_or_cut_segment_is_refused(tmp_path: Path) -> None:
    written_log(tmp_path)
    middle = segments(tmp_path)[1]
    content = middle.read_bytes()
    middle.write_bytes(content[:-512])
    with pytest.raises(CorruptionError, match="was made with"):
        recovered(tmp_path)
    middle.unlink()
    with pytest.raises(CorruptionError, match="is missing"):
        recovered(tmp_path)


def test_salvage_takes_what_stands_before_the_damage(tmp_path: Path) -> None:
    written_log(tmp_path)
    damaged = segments(tmp_path)[1]
    content = bytearray(damaged.read_bytes())
    content[segment.HEADER_BYTES + 2500] ^= 1
    damaged.write_bytes(content)
    good = recovered(tmp_path, salvage=True)
    assert 0 < len(good) < 30
    log = new_log(tmp_path)
    log.rewrite(list(log.recover(0, salvage=True)))
    assert append(log, b"next") == len(good) + 1
    log.close()
    assert recovered(tmp_path) == [*good, len(good) + 1]


def test_a_record_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    opened(log)
    sizes = [10, 3 * SEGMENT_BYTES, 2000, 5 * SEGMENT_BYTES, 5 * SEGMENT_BYTES, 10]
    for size in sizes:
        append(log, b"x" * size)
    log.close()
    assert [len(payload) for _, payload in new_log(tmp_path).recover(0)] == sizes


def test_a_large_tail_is_rewritten_into_one_segment(tmp_path: Path) -> None:
    written_log(tmp_path, records=100)
    log = new_log(tmp_path)
    opened(log, after=10)
    assert len(segments(tmp_path)) == 1
    log.close()
    assert recovered(tmp_path, 10) == [*range(11, 101)]


def test_a_newer_version_and_another_generation_are_refused_by_name(tmp_path: Path) -> None:
    written_log(tmp_path, records=1)
    with pytest.raises(FolderError, match="generation 1, not of 2"):
        FileLog(tmp_path / "log", segment_bytes=SEGMENT_BYTES, durable=True, generation=2)
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, 8, 9)
    path.write_bytes(content)
    with pytest.raises(FolderError, match="version 9, this mini_flink reads up to 1"):
        new_log(tmp_path)


def test_a_full_disk_takes_nothing_and_is_tried_again(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    log = FileLog(small_disk / "log", segment_bytes=1 << 16, durable=True)
    ballast.write_bytes(bytes(600 << 10))
    opened(log)
    with pytest.raises(StorageFullError):
        fill(log, prepare=True)
    acknowledged = log.next_number - 1
    with pytest.raises(StorageFullError):
        fill(log, prepare=False)
    assert log.next_number - 1 > acknowledged, "what is prepared is used up first"
    last = log.next_number - 1
    assert not list((small_disk / "log").glob("spare-*"))
    ballast.unlink()
    assert append(log, b"x" * 5000) == last + 1
    log.close()
    again = FileLog(small_disk / "log", segment_bytes=1 << 16, durable=True)
    assert [number for number, _ in again.recover(0)] == [*range(1, last + 2)]


def fill(log: FileLog, *, prepare: bool) -> None:
    """Appends until there is no space."""
    while True:
        append(log, b"x" * 5000)
        if prepare:
            log.prepare()


def test_recovery_on_a_full_disk_can_be_tried_again(small_disk: Path) -> None:
    written_log(small_disk, records=10)
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
    log = new_log(small_disk)
    tail = list(log.recover(2))
    with pytest.raises(StorageFullError):
        log.rewrite(tail)
    assert recovered(small_disk, 2) == [*range(3, 11)]
    ballast.unlink()
    log.rewrite(tail)
    assert append(log, b"next") == 11
    log.close()


def test_after_another_error_the_log_refuses_everything(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    opened(log)
    append(log, b"one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.HEADER_BYTES + 100, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            log.append(2, b"y" * 1000)  # a short write, then the error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(StorageError):
        log.append(2, b"y")
    with pytest.raises(StorageError):
        log.sync()
    with pytest.raises(StorageError):
        log.prepare()
    log.close()
    assert recovered(tmp_path) == [1]


def test_a_failed_sync_is_for_good(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    opened(log)
    log.append(1, b"one")
    log.close()
    log = new_log(tmp_path)
    opened(log)
    log.append(2, b"two")
    os.close(max(int(name) for name in os.listdir("/proc/self/fd") if leads_to(name, tmp_path)))
    with pytest.raises(StorageError):
        log.sync()
    with pytest.raises(StorageError):
        log.sync()


def leads_to(descriptor: str, folder: Path) -> bool:
    try:
        return str(folder) in os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return False

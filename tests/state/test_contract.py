"""What base.py promises, on both twins of both devices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mini_flink.errors import CorruptionError
from tests.state.devices import Devices, FileDevices, MemoryDevices, append, opened


@pytest.fixture(params=["files", "memory"])
def devices(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Devices]:
    made: Devices = FileDevices(tmp_path) if request.param == "files" else MemoryDevices()
    yield made
    made.kill()


# --- log ----------------------------------------------------------------------------------------------------


def test_a_new_log_is_empty_and_begins_with_one(devices: Devices) -> None:
    log = devices.log()
    assert list(log.recover(0)) == []
    log.rewrite([])
    assert log.next_number == 1


def test_what_was_appended_is_read_after_a_kill(devices: Devices) -> None:
    log = opened(devices.log())
    expected = [(append(log, b"x" * size), b"x" * size) for size in (1, 7, 8, 9, 3000, 40000, 1)]
    devices.kill()
    assert list(devices.log().recover(0)) == expected


def test_a_record_that_was_not_synced_survives_a_kill(devices: Devices) -> None:
    log = opened(devices.log())
    log.append(1, b"one")
    devices.kill()
    assert list(devices.log().recover(0)) == [(1, b"one")]


def test_recovery_skips_what_the_table_has(devices: Devices) -> None:
    log = opened(devices.log())
    for index in range(10):
        append(log, b"%d" % index)
    devices.kill()
    assert [number for number, _ in devices.log().recover(7)] == [8, 9, 10]


def test_recovery_of_a_recovery_reads_the_same(devices: Devices) -> None:
    log = opened(devices.log())
    expected = [(append(log, bytes([65 + index]) * 5000), bytes([65 + index]) * 5000) for index in range(12)]
    for _ in range(4):
        devices.kill()
        log = opened(devices.log(), after=2)
        assert log.next_number == 13
    devices.kill()
    assert list(devices.log().recover(2)) == expected[2:]


def test_recycled_records_are_gone_and_the_others_stay(devices: Devices) -> None:
    log = opened(devices.log())
    for index in range(60):
        number = append(log, bytes([index + 1]) * 2000)
        if index % 7 == 6:
            log.recycle(number - 3)
            log.prepare()
    devices.kill()
    after = 59 - 3 - 3
    assert [number for number, _ in devices.log().recover(after)] == [*range(after + 1, 61)]


def test_the_space_of_the_log_is_bounded_when_it_is_recycled(devices: Devices) -> None:
    log = opened(devices.log())
    sizes = set()
    for _ in range(200):
        log.recycle(append(log, b"x" * 3000))
        log.prepare()
        sizes.add(log.size_bytes)
    assert max(sizes) <= 1 << 20
    assert log.wants_preparation is False


def test_records_out_of_turn_are_refused(devices: Devices) -> None:
    log = opened(devices.log())
    with pytest.raises(RuntimeError):
        log.append(2, b"two")
    with pytest.raises(RuntimeError):
        log.append(1, b"")
    log.append(1, b"one")
    with pytest.raises(RuntimeError):
        log.append(2, b"before one is synced")


def test_a_log_takes_nothing_before_it_is_rewritten(devices: Devices) -> None:
    log = devices.log()
    with pytest.raises(RuntimeError):
        log.append(1, b"one")
    append(opened(log), b"one")
    devices.kill()
    log = devices.log()
    list(log.recover(0))
    with pytest.raises(RuntimeError):
        log.rewrite([])


def test_a_log_that_begins_behind_the_table_is_refused(devices: Devices) -> None:
    log = opened(devices.log())
    for _ in range(5):
        append(log, b"x")
    devices.kill()
    opened(devices.log(), after=3)
    devices.kill()
    with pytest.raises(CorruptionError):
        list(devices.log().recover(1))
    assert [number for number, _ in devices.log().recover(3)] == [4, 5]


def test_a_table_with_commits_and_no_log_is_refused(devices: Devices) -> None:
    with pytest.raises(CorruptionError):
        list(devices.log().recover(5))


def test_the_log_counts(devices: Devices) -> None:
    log = opened(devices.log())
    append(log, b"12345")
    append(log, b"123")
    assert (log.statistics().appends, log.statistics().syncs, log.statistics().bytes_appended) == (2, 2, 8)


@pytest.mark.parametrize("kind", ["files", "memory"])
def test_without_durability_nothing_is_synced(kind: str, tmp_path: Path) -> None:
    devices: Devices = (
        FileDevices(tmp_path, durable=False) if kind == "files" else MemoryDevices(durable=False)
    )
    log = opened(devices.log())
    log.append(1, b"one")
    log.append(2, b"two")
    log.sync()
    assert log.statistics().syncs == 0
    devices.kill()
    assert list(devices.log().recover(0)) == [(1, b"one"), (2, b"two")]
    devices.kill()


# --- table --------------------------------------------------------------------------------------------------


def test_a_new_table_is_empty(devices: Devices) -> None:
    table = devices.table()
    assert table.commit_number == 0
    assert table.get(b"k") is None
    assert list(table.scan(b"")) == []


def test_a_write_is_seen_after_renewal_and_by_the_next_process(devices: Devices) -> None:
    table = devices.table()
    table.write([(b"b", b"2"), (b"a", b"1"), (b"gone", None)], 7)
    assert table.commit_number == 7
    assert table.get(b"a") is None
    table.renew()
    assert table.get(b"a") == b"1"
    table.write([(b"a", None), (b"b", b""), (b"c", b"3")], 9)
    devices.kill()
    table = devices.table()
    assert table.commit_number == 9
    assert list(table.scan(b"")) == [(b"b", b""), (b"c", b"3")]


def test_scans_and_ranges_are_ordered_and_bounded(devices: Devices) -> None:
    rng = Random(5)
    model = {rng.randbytes(rng.choice([1, 2, 3, 511])): rng.randbytes(5) for _ in range(500)}
    model |= {b"\xff" * length: b"high" for length in (1, 2, 3)}
    table = devices.table()
    table.write(model.items(), 1)
    table.renew()
    ordered = sorted(model.items())
    assert list(table.scan(b"")) == ordered
    for prefix in (b"\x00", b"\x07", b"\xff", b"\xff\xff", b"\x7f\xff", b"zz"):
        assert list(table.scan(prefix)) == [item for item in ordered if item[0].startswith(prefix)]
    assert list(table.range(b"\x10", b"\x20")) == [item for item in ordered if b"\x10" <= item[0] < b"\x20"]
    assert list(table.range(b"\xf0", None)) == [item for item in ordered if item[0] >= b"\xf0"]


def test_keys_longer_than_the_library_allows(devices: Devices) -> None:
    rng = Random(6)
    heads = [b"S", b"S" + bytes(500), b"T" * 479, b"T" * 480, b"T" * 511, b"T" * 512, b"U" * 2000]
    model = {head + rng.randbytes(rng.choice([0, 1, 40, 600])): rng.randbytes(9) for head in heads * 20}
    table = devices.table()
    table.write(model.items(), 1)
    table.renew()
    ordered = sorted(model.items())
    assert {key: table.get(key) for key in model} == model
    assert table.get(b"U" * 3000) is None
    for prefix in [b"", b"Q", *heads]:
        assert list(table.scan(prefix)) == [item for item in ordered if item[0].startswith(prefix)]
    start, stop = ordered[20][0], ordered[90][0]
    assert list(table.range(start, stop)) == ordered[20:90]
    table.write([(key, None) for key in model], 2)
    table.renew()
    assert list(table.scan(b"")) == []


def test_many_items_at_once(devices: Devices) -> None:
    rng = Random(8)
    model = {rng.randbytes(12): b"%d" % index for index in range(20_000)}
    table = devices.table()
    table.write(model.items(), 1)
    table.renew()
    assert list(table.scan(b"")) == sorted(model.items())


def test_a_write_in_another_thread_does_not_disturb_reads(devices: Devices) -> None:
    table = devices.table()
    table.write([(b"k%03d" % index, b"old") for index in range(1000)], 1)
    table.renew()
    changes = [(b"k%03d" % index, b"new") for index in range(1000)]
    writer = threading.Thread(target=table.write, args=(changes, 2))
    writer.start()
    while writer.is_alive():
        assert {value for _, value in table.scan(b"k")} == {b"old"}
    writer.join()
    assert table.get(b"k007") == b"old"
    table.renew()
    assert table.get(b"k007") == b"new"


def test_a_scan_ends_with_its_view(devices: Devices) -> None:
    table = devices.table()
    table.write([(b"a", b"1"), (b"b", b"2")], 1)
    table.renew()
    items = table.scan(b"")
    assert next(items) == (b"a", b"1")
    table.renew()
    with pytest.raises(RuntimeError):
        next(items)

"""Hangs are told by the clock in the test's hand."""

from __future__ import annotations

from mini_flink.progress import ASKING, COMMIT, USER_CODE, Entry
from mini_flink.supervisor.hangs import HangWatch, Stuck

SECOND = 1_000_000_000


def entry(since_s: float, *, number: int = 1, stage: int = USER_CODE) -> Entry:
    return Entry(1, 0, number, stage, int(since_s * SECOND), 7)


def looks(watch: HangWatch, *seen: tuple[float, Entry | None]) -> list[Stuck | None]:
    return [watch.look(what, False, int(at_s * SECOND)) for at_s, what in seen]


def test_one_record_for_long_is_warned_of_once_and_then_killed() -> None:
    busy = entry(10)
    found = looks(HangWatch(10_000), *((at, busy) for at in (10.5, 11.5, 12.5, 19.5, 20.5)))
    what = "busy with one record (user code)"
    assert found == [None, Stuck(what, 1.5, 7, False), None, None, Stuck(what, 10.5, 7, True)]


def test_a_loop_that_gets_on_is_left_alone() -> None:
    found = looks(HangWatch(1_000), *((float(at), entry(at - 0.9, number=at)) for at in range(10, 20)))
    assert set(found) == {None}


def test_a_torn_reading_kills_nobody() -> None:
    assert looks(HangWatch(1_000), (100.0, entry(0)), (101.0, None)) == [None, None]


def test_zero_switches_killing_off() -> None:
    found = looks(HangWatch(0), (1.0, entry(0)), (100.0, entry(0)), (200.0, entry(0)))
    assert [stuck.kill for stuck in found if stuck] == [False]


def test_a_slow_disk_is_warned_of_but_killing_would_not_help() -> None:
    slow = entry(0, stage=COMMIT)
    found = looks(HangWatch(1_000), (1.0, slow), (100.0, slow), (200.0, slow))
    assert found == [None, Stuck("waiting for the disk", 100.0, 7, False), None]


def test_a_stopped_process_is_judged_by_how_long_it_has_been_seen_so() -> None:
    watch = HangWatch(10_000)
    found = [watch.look(None, True, at * SECOND) for at in (50, 51, 52, 59, 60)]
    assert [(stuck.kill, stuck.seconds) if stuck else None for stuck in found] == [
        None, (False, 1.0), None, None, (True, 10.0),
    ]  # fmt: skip
    assert watch.look(None, False, 61 * SECOND) is None
    assert watch.look(None, True, 62 * SECOND) is None


def test_a_gauge_that_does_not_come_back_is_named() -> None:
    asked = Entry(0, 0, 0, ASKING, 0, 0, "the gauge 'depth' of operator 'total'")
    found = looks(HangWatch(3_000), (1.5, asked), (2.5, asked), (3.5, asked))
    what = "waiting for the gauge 'depth' of operator 'total'"
    assert found == [None, Stuck(what, 2.5, 0, False), Stuck(what, 3.5, 0, True)]

"""The page survives its process, names the record it died in, and is readable from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from mini_flink import progress
from mini_flink.core import engine, pending
from mini_flink.progress import Death, OperatorCounts, Page, PageReader, create_page, reset_counters


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "w0.page")


def die(path: str, incarnation: int, *record: int) -> None:
    """A process that begins a record and never ends it."""
    page = Page(path, incarnation)
    page.begin(*record)
    page.close()


def test_a_new_page_is_empty(path: str) -> None:
    page = Page(path, 1)
    reader = PageReader(path)
    assert page.previous_death() is None
    snapshot = reader.snapshot()
    assert (snapshot.pid, snapshot.incarnation, snapshot.entry) == (os.getpid(), 1, None)
    assert set(snapshot.counters.values()) == {0}
    assert abs(snapshot.opened_ns - time.time_ns()) < 60e9


def test_what_is_in_progress_is_seen_from_outside(path: str) -> None:
    page = Page(path, 1)
    reader = PageReader(path)
    before = time.monotonic_ns()
    page.begin(65536, 7, 2**40)
    page.operator(3)
    entry = reader.entry()
    assert entry is not None
    assert (entry.source, entry.session, entry.number, entry.operator) == (65536, 7, 2**40, 3)
    assert progress.STAGES[entry.stage] == "user code"
    assert before <= entry.since_ns <= time.monotonic_ns()
    page.commit(12)
    entry = reader.entry()
    assert entry is not None
    assert (progress.STAGES[entry.stage], entry.number) == ("commit", 12)
    page.idle()
    assert reader.entry() is None


def test_a_death_in_user_code_is_remembered_and_counted(path: str) -> None:
    die(path, 1, 1, 0, 5)
    assert Page(path, 2).previous_death() == Death(1, 0, 5, 1)
    die(path, 3, 1, 0, 5)
    die(path, 4, 1, 0, 5)
    # Incarnation 3 began the record anew after 2 had come to nothing: the row goes on.
    assert Page(path, 5).previous_death() == Death(1, 0, 5, 3)


def test_a_death_at_another_record_starts_a_new_row(path: str) -> None:
    die(path, 1, 1, 0, 5)
    die(path, 2, 1, 0, 5)
    die(path, 3, 1, 0, 6)
    assert Page(path, 4).previous_death() == Death(1, 0, 6, 1)


def test_a_process_that_got_over_the_record_ends_the_row(path: str) -> None:
    die(path, 1, 1, 0, 5)
    page = Page(path, 2)
    page.begin(1, 0, 5)
    page.idle()
    page.close()
    assert Page(path, 3).previous_death() is None


def test_a_death_in_a_commit_is_nobodys_fault(path: str) -> None:
    page = Page(path, 1)
    page.begin(1, 0, 5)
    page.commit(1)
    page.close()
    assert Page(path, 2).previous_death() is None


def test_another_boot_starts_at_zero(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(path, 1)
    page.publish({"records_in": 7})
    page.begin(1, 0, 5)
    page.close()
    monkeypatch.setattr(progress, "boot_id", lambda: b"another boot id.")
    assert Page(path, 2).previous_death() is None
    assert PageReader(path).counter("records_in") == 0


def test_counters_go_on_in_the_next_process_and_gauges_do_not(path: str) -> None:
    page = Page(path, 1)
    page.publish({"records_in": 7, "commits": 2})
    page.publish({"records_in": 10})
    page.publish_operator(3, 5, 4, 1)
    page.set("pending", 9)
    page.close()
    page = Page(path, 2)
    page.publish({"records_in": 1})
    page.publish_operator(3, 1, 1, 0)
    reader = PageReader(path)
    assert reader.counters() == dict.fromkeys(reader.counters(), 0) | {"records_in": 11, "commits": 2}
    assert reader.operator(3) == OperatorCounts(6, 5, 1)


def test_operators_over_the_limit_are_not_counted(path: str) -> None:
    page = Page(path, 1)
    page.publish_operator(progress.OPERATOR_LIMIT - 1, 1, 1, 0)
    page.publish_operator(progress.OPERATOR_LIMIT, 1, 1, 0)
    reader = PageReader(path)
    assert reader.operator(progress.OPERATOR_LIMIT - 1) == OperatorCounts(1, 1, 0)
    assert reader.operator(progress.OPERATOR_LIMIT) == OperatorCounts(0, 0, 0)


def test_a_new_server_starts_counting_at_zero_but_knows_the_deaths(path: str) -> None:
    die(path, 1, 1, 0, 5)
    page = Page(path, 2)
    page.publish({"records_in": 7})
    page.begin(1, 0, 5)
    page.close()
    reset_counters(path)
    assert PageReader(path).counter("records_in") == 0
    assert Page(path, 3).previous_death() == Death(1, 0, 5, 2)


@pytest.mark.parametrize("content", [b"", b"x" * progress.PAGE_BYTES, b"MFPROGRS" + bytes(100)])
def test_a_page_of_another_format_is_made_anew(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
    assert Page(path, 1).previous_death() is None
    assert Path(path).stat().st_size == progress.PAGE_BYTES


def test_a_reader_keeps_seeing_later_incarnations(path: str) -> None:
    create_page(path)
    reader = PageReader(path)
    Page(path, 1).close()
    Page(path, 2)
    assert reader.snapshot().incarnation == 2


def test_the_page_of_a_killed_process_names_its_record(path: str) -> None:
    code = (
        "import sys, time\n"
        "from mini_flink.progress import Page\n"
        "page = Page(sys.argv[1], 1)\n"
        "page.begin(65537, 4, 99)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert Page(path, 2).previous_death() == Death(65537, 4, 99, 1)


def test_every_count_of_the_machines_has_its_place(path: str) -> None:
    page = Page(path, 1)
    for machine in (engine.Counters(), pending.GatewayCounters()):
        page.publish(asdict(machine))

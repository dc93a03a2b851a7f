"""What an error shows where nobody renders it: in a traceback and in pytest."""

from __future__ import annotations

import sys
import traceback

import pytest

from mini_flink.datastream import StreamExecutionEnvironment
from mini_flink.errors import JobError, Location
from mini_flink.failures import render_error


def test_a_traceback_ends_with_place_and_help() -> None:
    error = JobError("no source", help="begin with one", location=Location("/shop/job.py", 7))
    assert traceback.format_exception_only(error) == [
        "mini_flink.errors.JobError: no source\n",
        "  --> /shop/job.py:7\n",
        "  = help: begin with one\n",
    ]
    assert str(error) == "no source"


def test_a_place_that_becomes_known_later_is_shown_once() -> None:
    error = JobError("no source", help="begin with one")
    error.location = Location("/shop/job.py", 6)
    error.location = Location("/shop/job.py", 7)
    shown = "".join(traceback.format_exception_only(error))
    assert (shown.count("-->"), shown.count("job.py:7"), shown.count("help")) == (1, 1, 1)
    rendered = render_error(error)
    assert (rendered.count("-->"), rendered.count("help")) == (1, 1)


def test_an_error_without_place_or_help_is_its_message() -> None:
    assert traceback.format_exception_only(JobError("no")) == ["mini_flink.errors.JobError: no\n"]


def test_the_hook_of_a_process_whose_main_program_is_no_job_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    StreamExecutionEnvironment.get_execution_environment()
    assert sys.excepthook is sys.__excepthook__

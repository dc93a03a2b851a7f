"""What is said about a failing record: the user's frames, the right expression, repeats counted."""

from __future__ import annotations

import itertools
import json
import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mini_flink.errors import EncodeError, JobError, Location, RecordError
from mini_flink.failures import (
    REPEAT_WINDOW_MS,
    WINDOWS_LIMIT,
    Failure,
    FailureLog,
    describe,
    printable,
    render,
    render_error,
    render_running,
)
from mini_flink.source import is_users


def raised(function: Callable[..., Any], *arguments: Any) -> Exception:
    """The exception of ``function``, as it looks where an engine catches it."""
    try:
        function(*arguments)
    except Exception as error:
        # The frame of this helper stands for the engine's: it is not the user's.
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    raise AssertionError("did not raise")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Run source text as the user's file job.py and give back its names."""
    monkeypatch.chdir(tmp_path)
    linecache.clearcache()

    def run(text: str, name: str = "job.py") -> dict[str, Any]:
        path = tmp_path / name
        path.write_text(text)
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, str(path), "exec"), names)
        return names

    return run


def test_the_right_one_of_two_lambdas_on_one_line_is_underlined(load):
    names = load('first, second = (lambda o: o["price"] * 2), (lambda o: o["count"] + 1)\n')
    shown = render(Failure("double", raised(names["second"], {"price": 1})))
    assert shown == (
        "KeyError: 'count' in operator double\n"
        "  --> job.py:1:56 in <lambda>\n"
        "  |\n"
        '1 | first, second = (lambda o: o["price"] * 2), (lambda o: o["count"] + 1)\n'
        "  |                                                        ^^^^^^^^^^\n"
    )
    shown = render(Failure("double", raised(names["first"], {"count": 1})))
    assert shown.splitlines()[-1] == "  |                            ^^^^^^^^^^"


def test_of_a_line_that_is_too_long_the_part_that_failed_is_shown(load):
    filler = ", ".join(f"'{number:03}'" for number in range(40))
    names = load(f"function = lambda o: [{filler}, o['price'], {filler}]\n")
    shown = render(Failure("long", raised(names["function"], {}))).splitlines()
    line, carets = next(pair for pair in itertools.pairwise(shown) if "^" in pair[1])
    assert line[carets.index("^") : carets.rindex("^") + 1] == "o['price']"
    assert line.startswith("1 | …")
    assert line.endswith("…")
    assert len(line) <= 164


def test_key_request_and_error_id_are_named(load):
    names = load("def f(v):\n    return 1 / v\n")
    failure = Failure("total", raised(names["f"], 0), key="'k17'", request_id="00c0-01", error_id="7F3K2")
    shown = render(failure)
    assert "ZeroDivisionError: division by zero in operator total" in shown
    assert "  = key 'k17' · request 00c0-01 · error id 7F3K2\n" in shown


def test_columns_count_characters_not_bytes(load):
    names = load('f = lambda o: ("ääää", o["preis"])\n')
    lines = render(Failure("x", raised(names["f"], {}))).splitlines()
    assert lines[3][lines[4].index("^") :].startswith('o["preis"]')


def test_indented_lines_are_shown_from_their_first_letter(load):
    names = load("def f(o):\n    if True:\n\t    return o.missing\n")
    lines = render(Failure("x", raised(names["f"], 1))).splitlines()
    assert lines[3:] == ["3 | return o.missing", "  |        ^^^^^^^^^"]


def test_an_expression_over_several_lines_is_underlined_to_the_end_of_its_first(load):
    names = load("def f(o):\n    return o.call(\n        1,\n    )\n")
    lines = render(Failure("x", raised(names["f"], 1))).splitlines()
    assert lines[3:] == ["2 | return o.call(", "  |        ^^^^^^"]


def test_frames_of_libraries_and_of_mini_flink_are_hidden(load):
    names = load(
        "import json\nfrom mini_flink.ids import request_id\n"
        "def f(v):\n    return json.loads(v)\n"
        "def g(v):\n    return request_id(v, 1, 2, 3)\n"
    )
    shown = render(Failure("x", raised(names["f"], "{")))
    assert "--> job.py:4" in shown
    assert "json/" not in shown
    shown = render(Failure("x", raised(names["g"], "no number")))
    assert "--> job.py:6" in shown
    assert "ids.py" not in shown


def test_no_more_than_ten_lines_however_deep(load):
    names = load(
        "def down(n):\n    if n == 0:\n        raise ValueError('x\\n' * 900) from KeyError('first')\n"
        "    down(n - 1)\n"
    )
    failure = Failure("x", raised(names["down"], 50), key="k", request_id="r", error_id="e")
    lines = render(failure).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) < 260
    assert any("called from job.py:4 down" in line for line in lines)
    assert any("48 more frames (--full-trace)" in line for line in lines)
    assert lines[-1] == "  = caused by KeyError: 'first'"


def test_full_trace_shows_all_frames(load):
    names = load("import json\ndef f(v):\n    return json.loads(v)\n")
    shown = render(Failure("x", raised(names["f"], "{")), full_trace=True)
    assert "json/decoder.py" in shown
    assert shown.startswith("json.decoder.JSONDecodeError: ")
    names = load("def f(v):\n    raise ValueError('x' * 100_000 + '\\n' * 100_000)\n", "long.py")
    assert len(render(Failure("x", raised(names["f"], 1)), full_trace=True)) < 20_000


def test_the_help_of_our_own_errors_is_shown(load):
    def refuse():
        raise EncodeError("cannot keep a socket in state", help="keep its address")

    assert render(Failure("x", raised(refuse))).endswith("  = help: keep its address\n")


def test_without_any_frame_of_the_user_the_line_that_made_the_operator_is_shown(load, tmp_path):
    load("import json\nstream = map(json.loads, [])\n")
    made = Location(f"{tmp_path}/job.py", 2)
    shown = render(Failure("map-3", raised(json.loads, "{"), key="1", location=made))
    assert shown.splitlines()[1:] == [
        "  --> operator 'map-3', made at job.py:2",
        "  |",
        "2 | stream = map(json.loads, [])",
        "  = key 1",
    ]
    assert "decoder.py" not in render(Failure("map-3", raised(json.loads, "{")))


def test_causes_show_no_lines_but_the_users(load):
    def refuse():
        try:
            json.loads("{")
        except ValueError as error:
            raise EncodeError("not to be stored") from error

    shown = render(Failure("x", raised(json.loads, "{")))
    assert ".py" not in shown
    error = raised(refuse)
    shown = render(Failure("x", error.with_traceback(None)))
    assert shown.splitlines()[0] == "not to be stored, in operator x"
    assert "caused by json.decoder.JSONDecodeError" in shown
    assert "decoder.py" not in shown


def test_our_own_errors_are_said_as_sentences():
    error = RecordError("it killed its worker at three starts in a row")
    assert render(Failure("total", error)) == (
        "it killed its worker at three starts in a row, in operator total\n"
    )
    assert describe(error, Location("/srv/job.py", 7)) == {
        "type": "RecordError",
        "message": "it killed its worker at three starts in a row",
        "frames": ["/srv/job.py:7 <module>"],
    }


def test_where_a_process_is_shows_the_users_frames_only(load):
    names = load(
        "import json, sys\n"
        "def here(pair):\n    return say(sys._getframe(), 'total')\n"
        "def f():\n    return json.loads('{}', object_pairs_hook=here)\n"
    )
    names["say"] = render_running
    assert names["f"]().splitlines()[:6] == [
        "this is where it is, in operator total",
        "  --> job.py:3:12 in here",
        "  |",
        "3 | return say(sys._getframe(), 'total')",
        "  |        " + "^" * 29,
        "  = called from job.py:5 f",
    ]
    assert render_running(None, "total") == ""
    deep = load(
        "import sys\ndef down(n):\n    return down(n - 1) if n else say(sys._getframe(), '')\n", "deep.py"
    )
    deep["say"] = render_running
    said = deep["down"](50).splitlines()
    assert len(said) == 10
    assert said[-1].endswith(" more frames")


def test_the_context_of_an_error_of_the_start_stands_above_its_help():
    error = JobError("it failed", help="do this")
    error.context = "called for operator 'x', made at job.py:3"
    assert render_error(error) == (
        "error: it failed\n  = called for operator 'x', made at job.py:3\n  = help: do this\n"
    )


def test_an_exception_whose_text_raises(load):
    names = load(
        "class Bad(Exception):\n    def __str__(self):\n        return 1 / 0\ndef f():\n    raise Bad\n"
    )
    assert render(Failure("x", raised(names["f"]))).startswith(
        "Bad: <its text raised ZeroDivisionError> in operator x"
    )


def test_dead_letters_describe_an_exception_as_plain_data(load, tmp_path):
    names = load("def g(v):\n    return v['a']\ndef f(v):\n    return g(v)\n")
    described = describe(raised(names["f"], {}))
    assert json.loads(json.dumps(described)) == {
        "type": "KeyError",
        "message": "'a'",
        "frames": [f"{tmp_path}/job.py:4 f", f"{tmp_path}/job.py:2 g"],
    }


def test_text_is_cut_and_made_printable():
    assert printable("a" * 500) == "a" * 199 + "…"
    assert printable("\x1b[31mred\n\ud800") == "\\x1b[31mred\\n\\ud800"
    assert printable("größer 数") == "größer 数"
    assert len(printable("\n" * 300)) == 200


def test_whose_files_are_the_users(tmp_path):
    import click

    import mini_flink.errors

    (tmp_path / "job.py").write_text("")
    assert is_users(str(tmp_path / "job.py"))
    assert is_users(__file__)
    assert not is_users(json.__file__)
    assert not is_users(click.__file__)
    assert not is_users(mini_flink.errors.__file__)
    assert is_users(str(Path(mini_flink.errors.__file__).parent / "examples" / "running_total.py"))
    assert not is_users("<frozen importlib._bootstrap>")
    assert not is_users("<string>")
    assert not is_users("src/compiled/module.py")
    (tmp_path / "fast.pyx").write_text("")
    assert not is_users(str(tmp_path / "fast.pyx"))
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "job.py").write_text("")
    assert not is_users(str(tmp_path / "site-packages" / "job.py"))


class Log:
    """A log of failures, and what it says as one text."""

    def __init__(self, *, full_trace: bool = False) -> None:
        self._log = FailureLog(full_trace=full_trace)

    def record(self, failure: Failure, now_ms: int) -> str:
        return "".join(notice.text for notice in self._log.record(failure, now_ms))

    def due(self, now_ms: int) -> str:
        return "".join(notice.text for notice in self._log.due(now_ms))

    def close(self) -> str:
        return "".join(notice.text for notice in self._log.close())


class TestFailureLog:
    @pytest.fixture
    def failing(self, load):
        names = load("def f(v):\n    return v['a']\ndef g(v):\n    return v['a']\n")
        return lambda name="f", operator="total": Failure(operator, raised(names[name], {}))

    def test_a_thousand_equal_failures_are_one_print_and_a_count(self, failing):
        log = Log()
        assert "--> job.py:2" in log.record(failing(), 1_000)
        assert [log.record(failing(), 1_000 + i) for i in range(999)] == [""] * 999
        assert log.due(10_999) == ""
        expected = "… 999 more like it in 10 s: KeyError in operator total, job.py:2\n"
        assert log.due(11_000) == expected
        assert "--> job.py:2" in log.record(failing(), 11_001)

    def test_the_count_is_said_before_the_next_print(self, failing):
        log = Log()
        log.record(failing(), 0)
        log.record(failing(), 1)
        said = log.record(failing(), 50_000)
        assert said.startswith("… 1 more like it in 10 s")
        assert "--> job.py:2" in said

    def test_another_place_operator_or_type_is_another_kind(self, failing, load):
        log = Log()
        assert log.record(failing(), 0)
        assert log.record(failing("g"), 0)
        assert log.record(failing("f", "other"), 0)
        assert log.record(failing(), 0) == ""

    def test_without_a_place_of_the_users_the_message_tells_kinds_apart(self):
        log = Log()
        for message in ("a reply holds NaN", "a reply holds a coroutine", "it takes 17 bytes"):
            assert log.record(Failure("reply-7", RecordError(message)), 0)
            assert log.record(Failure("reply-7", RecordError(message)), 0) == ""
        assert log.record(Failure("reply-7", RecordError("it takes 999 bytes")), 0) == ""
        assert "… 1 more like it in 10 s: a reply holds NaN, in operator reply-7\n" in log.due(
            REPEAT_WINDOW_MS
        )

    def test_the_memory_for_kinds_is_bounded(self, failing):
        log = Log()
        log.record(failing("f", "first"), 0)
        log.record(failing("f", "first"), 0)
        said = "".join(log.record(failing("f", f"operator {i}"), 0) for i in range(WINDOWS_LIMIT))
        assert "… 1 more like it in 10 s: KeyError in operator first, job.py:2\n" in said
        assert log.record(failing("f", "first"), 0).startswith("KeyError")

    def test_what_is_open_is_said_at_the_end(self, failing):
        log = Log()
        log.record(failing(), 0)
        assert log.close() == ""
        log.record(failing(), 0)
        log.record(failing(), 0)
        assert log.close().startswith("… 1 more like it")

    def test_what_programs_read_has_no_values_of_records(self, load):
        names = load("def f(v):\n    raise ValueError(f'no stock of {v}')\n")
        failure = Failure("total", raised(names["f"], "socks"), "'alice'", "00c0-01", "0-1-1")
        for full_trace in (False, True):
            (notice,) = FailureLog(full_trace=full_trace).record(failure, 0)
            assert "socks" in notice.text
            assert "'alice'" in notice.text
            assert "socks" not in notice.plain
            assert "alice" not in notice.plain
            assert "job.py" in notice.plain
            location = notice.fields["location"]
            assert location.endswith("job.py:2")
            assert notice.fields == {
                "operator": "total",
                "error": "ValueError",
                "error_id": "0-1-1",
                "request": "00c0-01",
                "location": location,
            }

    def test_all_frames_on_request(self, failing):
        assert "Traceback (most recent call last)" in Log(full_trace=True).record(failing(), 0)


def test_an_error_of_the_start_is_at_most_eight_lines_and_ends_in_help(load, tmp_path):
    names = load("def a(v):\n    return b(v)\ndef b(v):\n    return c(v)\ndef c(v):\n    return v.x\n")
    cause = raised(lambda: names["a"](1))
    error = JobError("it failed", help="do this", location=Location(f"{tmp_path}/job.py", 6, "c"))
    error.__cause__ = cause
    lines = render_error(error).splitlines()
    assert lines[0] == "error: it failed"
    assert lines[1:5] == ["  --> job.py:6:12 in c", "  |", "6 | return v.x", "  |        ^^^"]
    assert lines[-1] == "  = help: do this"
    assert len(lines) <= 8


def test_an_error_with_a_place_but_no_exception_shows_the_line(load, tmp_path):
    load("x = 1\n")
    error = JobError("no source", location=Location(f"{tmp_path}/job.py", 1))
    assert render_error(error) == "error: no source\n  --> job.py:1\n  |\n1 | x = 1\n"


def test_colour_is_only_on_the_word_error():
    assert render_error(JobError("x"), colour=True) == "\x1b[1;31merror:\x1b[0m x\n"

"""Lines of user functions come out whole, with who said them, from several processes and threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from mini_flink import console

ROOT = Path(__file__).parents[2]
PREFIX = "[worker 0 · total · 00c0-01]"

START = """
import logging, os, sys, threading
from mini_flink import console
console.install("worker 0", "lines.lock")
def in_record():
    console.current.operator = "total"
    console.current.request = lambda: "00c0-01"
def between():
    console.current.operator = ""
    console.current.request = None
"""


def run(code: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", START + code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        **options,
    )


def test_print_carries_process_operator_and_request(tmp_path):
    done = run(
        "print('start')\nin_record()\nprint('a', 1, end='!\\n')\n"
        "print('err', file=sys.stderr)\nbetween()\nprint('end')",
        tmp_path,
    )
    assert done.stdout == f"[worker 0] start\n{PREFIX} a 1!\n[worker 0] end\n"
    assert done.stderr == f"{PREFIX} err\n"


def test_an_operator_without_a_request(tmp_path):
    assert run("console.current.operator = 'total'\nprint('x')", tmp_path).stdout == "[worker 0 · total] x\n"


def test_several_lines_and_bytes_and_odd_characters(tmp_path):
    done = run(
        "print('one\\ntwo')\nsys.stdout.buffer.write('drei ö\\n'.encode())\nprint('\\ud800')\nprint()",
        tmp_path,
    )
    assert done.stdout.splitlines() == [
        "[worker 0] one",
        "[worker 0] two",
        "[worker 0] drei ö",
        "[worker 0] \\ud800",
        "[worker 0] ",
    ]


def test_a_partial_line_waits_for_its_end_and_leaves_at_exit(tmp_path):
    done = run(
        "print('a', end='', flush=True)\nos.write(1, b'raw\\n')\nprint('b')\nprint('rest', end='')", tmp_path
    )
    assert done.stdout == "raw\n[worker 0] ab\n[worker 0] rest\n"


def test_a_partial_line_is_ended_when_another_operator_or_request_speaks(tmp_path):
    done = run(
        "in_record()\nprint('a', end='')\nconsole.current.request = lambda: '00c0-02'\nprint('b', end='')\n"
        "print('c', end='')\nconsole.current.operator = 'reply'\nprint('d')\n"
        "print('e', end='')\nbetween()\nprint('\\nf')",
        tmp_path,
    )
    assert done.stdout.splitlines() == [
        f"{PREFIX} a",
        "[worker 0 · total · 00c0-02] bc",
        "[worker 0 · reply · 00c0-02] d",
        "[worker 0 · reply · 00c0-02] e",
        "[worker 0] ",
        "[worker 0] f",
    ]


def test_a_partial_line_keeps_the_name_of_who_began_it_at_the_end(tmp_path):
    done = run("in_record()\nprint('a', end='')\nbetween()\nconsole.finish()", tmp_path)
    assert done.stdout == f"{PREFIX} a\n"


def test_a_partial_line_of_a_record_that_is_done_can_be_written_early(tmp_path):
    done = run(
        "print('a', end='')\nconsole.finish_ended()\nin_record()\nprint('b', end='')\n"
        "console.finish_ended()\nbetween()\nconsole.finish_ended()\nos._exit(0)",
        tmp_path,
    )
    assert done.stdout == f"[worker 0] a\n{PREFIX} b\n"


def test_a_signal_asks_for_the_place(tmp_path):
    (tmp_path / "job.py").write_text(
        "import os, signal\n\n\ndef hang():\n    os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    done = run(
        "import signal\nfrom mini_flink.failures import render_running\n"
        "sys.path.insert(0, '')\nimport job\n"
        "console.show_place_on(signal.SIGUSR1, render_running)\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\nin_record()\njob.hang()",
        tmp_path,
    )
    first, *more = done.stderr.splitlines()
    assert first.endswith("warn   worker 0: this is where it is, in operator total")
    assert more == [
        "  --> job.py:5:5 in hang",
        "  |",
        "5 | os.kill(os.getpid(), signal.SIGUSR1)",
        "  | " + "^" * 36,
    ]


def test_finish_writes_partial_lines_before_a_hard_exit(tmp_path):
    assert run("print('rest', end='')\nconsole.finish()\nos._exit(0)", tmp_path).stdout == "[worker 0] rest\n"


def test_threads_keep_their_own_lines_and_do_not_borrow_the_record(tmp_path):
    done = run(
        """
in_record()
def talk(n):
    for _ in range(200):
        print("thread", n, "says", "x" * 50)
threads = [threading.Thread(target=talk, args=(n,), name=f"helper {n}") for n in range(4)]
[t.start() for t in threads]
for _ in range(200):
    print("main", "says", "y" * 50)
[t.join() for t in threads]
""",
        tmp_path,
    )
    expected = Counter({f"{PREFIX} main says {'y' * 50}": 200})
    expected.update({f"[worker 0 · helper {n}] thread {n} says {'x' * 50}": 200 for n in range(4)})
    assert Counter(done.stdout.splitlines()) == expected


def test_each_line_is_one_write(tmp_path):
    """A reader that takes datagrams sees the writes one by one."""
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        code = START + "in_record()\nprint('a', 'b')\nlogging.getLogger().handlers.clear()\n"
        code += "console.install_logging()\ntry:\n    1 / 0\nexcept Exception:\n    logging.exception('no')\n"
        arguments = [sys.executable, "-c", code]
        subprocess.run(
            arguments, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs, check=True, timeout=30
        )
        ours.setblocking(False)
        assert ours.recv(65536).decode() == f"{PREFIX} a b\n"
        lines = ours.recv(65536).decode().splitlines()
        assert lines[0] == f"{PREFIX} ERROR root: no"
        assert lines[-1] == f"{PREFIX} ZeroDivisionError: division by zero"
        with pytest.raises(BlockingIOError):
            ours.recv(65536)


def test_long_lines_of_several_processes_are_not_torn(tmp_path):
    """64 KiB fills the pipe: without the lock, other processes' lines would stand in the middle."""
    code = START.replace('"worker 0"', "sys.argv[1]") + (
        "for i in range(30):\n    print(sys.argv[1] * 20000)\n    print('short')\n"
    )
    read, write = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    names = ["A", "B", "C"]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path, env=environment, stdout=write)
        for name in names
    ]
    os.close(write)
    with open(read) as stream:
        lines = Counter(stream.read().splitlines())
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    expected = {f"[{name}] {name * 20000}": 30 for name in names}
    assert lines == Counter({**expected, **{f"[{name}] short": 30 for name in names}})


def test_a_stopped_holder_of_the_lock_does_not_silence_the_others(tmp_path):
    import fcntl

    with open(tmp_path / "lines.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run("print('x')", tmp_path).stdout == "[worker 0] x\n"


def test_nobody_reading_does_not_fail_the_function(tmp_path):
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = START + "print('x')\nprint('y' * 10000)\nsys.stderr.write('alive\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "[worker 0] alive\n")


def test_an_endless_line_does_not_fill_the_memory(tmp_path):
    done = run("for _ in range(40):\n    print('x' * 65536, end='')", tmp_path)
    assert done.stdout.count("x") == 40 * 65536
    assert done.stdout.count("\n") >= 2


def test_logging_speaks_from_info_unless_the_job_decided(tmp_path):
    code = "console.install_logging()\nin_record()\nlogging.getLogger('shop').info('hi')\nlogging.debug('no')"
    assert run(code, tmp_path).stderr == f"{PREFIX} INFO shop: hi\n"
    own = "logging.basicConfig(format='mine %(message)s')\nconsole.install_logging()\nlogging.warning('hi')"
    assert run(own, tmp_path).stderr == "[worker 0] mine hi\n"


def test_events_of_the_server(tmp_path, capsys):
    now = datetime(2026, 1, 5, 10, 14, 31, 204_900)
    console.event("warn", "worker 1 died", name="worker.died", now=now)
    assert capsys.readouterr().err == "10:14:31.204  warn   worker 1 died\n"
    done = run("console.event('error', 'KeyError\\n  --> job.py:1\\n', name='record.failed')", tmp_path)
    first, second = done.stderr.splitlines()
    assert first.endswith("  error  worker 0: KeyError")
    assert second == "  --> job.py:1"


def test_without_a_label_there_is_no_prefix(tmp_path):
    done = run("console.install('', 'lines.lock')\nprint('plain')", tmp_path)
    assert done.stdout == "plain\n"


def test_the_streams_behave_like_streams(tmp_path):
    done = run(
        "s = sys.stdout\nprint(s.fileno(), s.isatty(), s.encoding, s.errors, s.writable(), s.closed)\n"
        "print(s.buffer.fileno())\nimport subprocess; subprocess.run(['echo', 'child'], stdout=s)",
        tmp_path,
    )
    assert done.stdout == "[worker 0] 1 False utf-8 backslashreplace True False\n[worker 0] 1\nchild\n"


def test_the_module_imports_nothing_that_only_linux_has():
    code = "import sys; sys.modules['fcntl'] = None; import mini_flink.console as c; "
    code += "c.event('info', 'x', name='start.warned')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=30)

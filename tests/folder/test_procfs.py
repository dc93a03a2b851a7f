"""What /proc tells, checked on processes of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from mini_flink import procfs
from mini_flink.procfs import Process


def test_a_process_is_known_by_id_and_start_time() -> None:
    me = procfs.current_process()
    assert procfs.is_alive(me)
    assert not procfs.is_alive(Process(me.pid, me.start_time + 1))
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        time.sleep(0.2)
        assert procfs.start_time(child.pid) is None, "a process that ended and was not waited for is dead"


def test_a_stopped_process_is_told_from_a_sleeping_one() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert not procfs.is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 2
        while not procfs.is_stopped(child.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert procfs.is_stopped(child.pid)
        child.kill()


def test_signals_with_a_handler() -> None:
    assert procfs.catches(os.getpid(), signal.SIGINT)
    assert not procfs.catches(os.getpid(), signal.SIGKILL)


def test_the_holder_of_a_port_is_found() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as listener:
            listener.bind((address, 0))
            port = listener.getsockname()[1]
            assert procfs.holder_of_port(port) is None
            listener.listen()
            assert procfs.holder_of_port(port) == os.getpid()


def test_a_name_is_short() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "x" * 100], stdin=subprocess.PIPE) as child:
        time.sleep(0.1)
        name = procfs.name_of(child.pid)
        assert len(name) == 60
        assert "-c" in name

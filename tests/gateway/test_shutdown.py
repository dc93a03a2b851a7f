"""Stopping: nothing new is taken, what is in flight is answered, and nothing keeps the process awake."""

from __future__ import annotations

import logging
import time

import pytest

from tests.gateway.served import Client, Served, eventually, head


def test_idle_connections_are_closed(served: Served) -> None:
    with served.connect() as silent, served.connect() as idle:
        assert idle.ask("/event", b"{}").status == 200
        started = time.monotonic()
        served.begin_stop(10_000).result(10)
        assert time.monotonic() - started < 5
        assert silent.is_at_end()
        assert idle.is_at_end()


def test_what_is_in_flight_is_answered(served: Served) -> None:
    served.ingress.holding = True
    with served.connect() as waiting, served.connect() as pipelining, served.connect() as sending:
        waiting.post("/event", b"{}")
        pipelining.post("/event", b"{}")
        pipelining.post("/event", b"{}")
        sending.send(head("POST", "/event", "Content-Length: 2"), b"{")
        eventually(lambda: len(served.ingress.held) == 2)
        stopped = served.begin_stop(10_000)
        with pytest.raises(ConnectionRefusedError):
            Client(served.port)
        sending.send(b"}")
        eventually(lambda: len(served.ingress.held) == 3)
        assert not stopped.done()
        served.ingress.holding = False
        served.ingress.release()
        assert waiting.read().headers["connection"] == "close"
        assert sending.read().headers["connection"] == "close"
        assert pipelining.read().status == 200
        assert pipelining.read().headers["connection"] == "close"
        for client in (waiting, sending, pipelining):
            assert client.is_at_end()
        stopped.result(10)


def test_a_head_that_is_arriving_is_answered(served: Served) -> None:
    request = head("POST", "/event", "Content-Length: 2")
    with served.connect() as client:
        client.send(request[:20])
        eventually(lambda: served.connections() == 1)
        with served.connect() as other:  # its answer shows that the bytes before it have been read
            assert other.ask("/event", b"{}").status == 200
        stopped = served.begin_stop(10_000)
        client.send(request[20:], b"{}")
        response = client.read()
        assert response.status == 200
        assert response.headers["connection"] == "close"
        stopped.result(10)


def test_the_grace_has_an_end(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.ingress.holding = True
    with served.connect() as client, served.connect() as other, served.connect() as sending:
        client.post("/event", b"{}")
        other.post("/event", b"{}")
        other.post("/event", b"{}")
        sending.send(head("POST", "/event", "Content-Length: 2"), b"{")
        eventually(lambda: len(served.ingress.held) == 2)
        eventually(lambda: served.connections() == 3)
        served.begin_stop(100).result(10)
        assert served.connections() == 0
        eventually(lambda: served.tasks() == 0)
        served.ingress.release()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "3 connections are cut at shut-down"
    ]


def test_nothing_ticks_without_connections(served: Served) -> None:
    with served.connect() as client:
        assert client.ask("/event", b"{}").status == 200
        assert served.server._connections._timer is not None
    eventually(lambda: served.server._connections._timer is None)
